"""A whole build: its stages, its report, what it is judged on, and that it gives the same bytes again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import fusee
from fusee.base.errors import RequestError
from fusee.base.target import detect_cpu
from fusee.build import STAGES, BuildOptions, build_artifact

WEIGHTS = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
ROOT = Path(__file__).parents[2]


def model() -> onnx.ModelProto:
    """y = softmax(x @ w) for any number of rows; the mean of y beside it."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="product"),
        helper.make_node("Softmax", ["a"], ["y"], axis=-1),
        helper.make_node("ReduceMean", ["y"], ["m"], keepdims=0),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "m")]
    graph = helper.make_graph(nodes, "rows", [x], outputs, [numpy_helper.from_array(WEIGHTS, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x @ WEIGHTS - (x @ WEIGHTS).max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("rows", [1, 2, 7, 64, 257])
def test_one_engine_takes_any_number_of_rows(rows: int):
    x = np.random.default_rng(rows).standard_normal((rows, 6)).astype(np.float32)
    with fusee.build(model()) as engine:
        found = engine.run({"x": x})
    assert found["y"].shape == (rows, 5)
    np.testing.assert_allclose(found["y"], softmax(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["m"], 0.2, rtol=1e-5)


def test_stages_come_in_order_and_are_timed():
    seen: list[tuple[str, float]] = []
    report = build_artifact(model(), progress=lambda stage, share: seen.append((stage, share))).report
    assert tuple(seen) == STAGES
    assert set(report.seconds) == {name for name, _ in STAGES}
    assert report.total_seconds == pytest.approx(sum(report.seconds.values()))
    assert report.nodes_before == 3
    assert report.nodes_after <= 3
    assert report.excluded == ()


def test_the_same_model_gives_the_same_bytes(tmp_path: Path):
    files = [tmp_path / "first.fusee", tmp_path / "second.fusee"]
    for file in files:
        with fusee.build(model()) as engine:
            engine.save(file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_an_engine_for_an_older_machine():
    target = detect_cpu().with_isa("avx2")
    with fusee.build(model(), BuildOptions(target)) as engine:
        assert not [f for f in engine.artifact.features if f.startswith("avx512")]
        assert engine.run({"x": np.zeros((2, 6), np.float32)})["y"] == pytest.approx(0.2)


def test_the_callers_shapes_are_what_it_is_judged_at():
    options = BuildOptions(shapes={"x": (11, 6)}, samples=1, seed=5)
    (sample,) = build_artifact(model(), options).report.certificate["samples"]
    assert (sample["inputs"], sample["seed"]) == ("x=11x6", 5)


def test_the_callers_inputs_are_what_it_is_judged_on():
    x = np.full((3, 6), 2, np.float32)
    built = build_artifact(model(), BuildOptions(inputs=({"x": x},)))
    (sample,) = built.report.certificate["samples"]
    assert sample["inputs"] == "x=3x6"
    assert {o["name"] for o in sample["outputs"]} == {"y", "m"}


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"z": (1, 6)}, "shapes are given for z; the inputs are x"),
        ({"x": (1, 7)}, "the shape given for x is 1x7; it is f32[N,6]"),
        ({"x": ()}, "the shape given for x is scalar; it is f32[N,6]"),
    ],
)
def test_shapes_that_do_not_fit(shapes: dict[str, tuple[int, ...]], message: str):
    with pytest.raises(RequestError) as caught:
        fusee.build(model(), BuildOptions(shapes=shapes))
    assert str(caught.value) == message


def test_digits_are_read_as_the_model_reads_them():
    from fusee.ir import reference
    from fusee.onnx.importer import import_model

    folder = ROOT / "models/digits"
    with np.load(folder / "digits_test.npz") as held_out:
        images, labels = held_out["images"], held_out["labels"]
    expected = reference.run(import_model(folder / "digits.onnx"), {"image": images})["logits"].argmax(1)
    with fusee.build(folder / "digits.onnx") as engine:
        found = engine.run({"image": images})["logits"].argmax(1)
    np.testing.assert_array_equal(found, expected)
    assert (found == labels).mean() > 0.99
