"""Random nodes: shapes, types, seeds."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto
from small_models import imported, node

from fusee.base.types import Array
from fusee.ir.reference import run

X = np.full((4, 5), 0.5, np.float32)


def drawn(op_type: str, inputs: dict[str, Array], name: str = "", **attributes: object) -> Array:
    made = node(op_type, list(inputs), ["y"], name, **attributes)
    shapes = {n: [f"{n}_{d}" for d in range(a.ndim)] for n, a in inputs.items()}
    return run(imported([made], inputs, shapes=shapes, opset=22), inputs)["y"]


def test_shapes_and_types() -> None:
    for op_type in ("RandomNormal", "RandomUniform"):
        assert drawn(op_type, {}, shape=[2, 3]).shape == (2, 3)
        assert drawn(op_type, {}, shape=[2], dtype=TensorProto.FLOAT16).dtype == np.float16
        assert drawn(op_type + "Like", {"x": X}).shape == X.shape
        assert drawn(op_type + "Like", {"x": X}, dtype=TensorProto.DOUBLE).dtype == np.float64
    assert drawn("Bernoulli", {"x": X}, dtype=TensorProto.INT32).dtype == np.int32
    assert drawn("Multinomial", {"x": X}, sample_size=7).shape == (4, 7)
    assert drawn("Multinomial", {"x": X}, dtype=TensorProto.INT64).dtype == np.int64


def test_seeds_repeat_and_names_tell_nodes_without_one_apart() -> None:
    for seed in ({"seed": 3.5}, {}):
        first = drawn("RandomNormal", {}, "a", shape=[9], **seed)
        np.testing.assert_array_equal(first, drawn("RandomNormal", {}, "a", shape=[9], **seed))
    assert not np.array_equal(drawn("RandomNormal", {}, "a", shape=[9]), drawn("RandomNormal", {}, "b", shape=[9]))


def test_a_shape_found_at_run_time_is_waited_for() -> None:
    nodes = [node("NonZero", ["x"], ["found"]), node("RandomUniformLike", ["found"], ["y"], dtype=TensorProto.FLOAT)]
    assert run(imported(nodes, {"x": X}, opset=22), {"x": X})["y"].shape == (2, 20)
