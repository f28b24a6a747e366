"""Single ONNX nodes run on the reference interpreter and on ONNX Runtime, which must agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from fusee.base.types import Array
from fusee.ir import reference
from fusee.onnx.importer import import_model


def one_node(
    op_type: str,
    inputs: Sequence[Array | None],
    *,
    domain: str = "",
    version: int = 20,
    outputs: int = 1,
    constant: Sequence[int] = (),
    **attributes: Any,
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """A model of one node and its feeds; inputs listed in ``constant`` become weights."""
    names = [f"i{k}" if x is not None else "" for k, x in enumerate(inputs)]
    arrays = {n: x for n, x in zip(names, inputs, strict=True) if x is not None}
    weights = {names[k]: arrays.pop(names[k]) for k in constant}
    results = [f"o{k}" for k in range(outputs)]
    node = helper.make_node(op_type, names, results, domain=domain, **attributes)
    infos = {n: (helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in arrays.items()}
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info(n, *i) for n, i in infos.items()],
        [onnx.ValueInfoProto(name=n) for n in results],
        [numpy_helper.from_array(a, n) for n, a in weights.items()],
    )
    opsets = [helper.make_opsetid("", version)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=10), arrays


def both(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> tuple[list[Array], list[Array]]:
    """The outputs of our reference, and those of ONNX Runtime with no optimisation."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = [np.asarray(x) for x in session.run(None, dict(feeds))]
    found = reference.run(import_model(model), dict(feeds))
    return [found[o.name] for o in model.graph.output], wanted


def assert_like_ort(
    model: onnx.ModelProto, feeds: Mapping[str, Array], *, steps: int = 0, rtol: float = 1e-4, atol: float = 1e-5
) -> None:
    """Same types, shapes and numbers; quantised results may be ``steps`` apart where roundings differ."""
    for ours, theirs in zip(*both(model, feeds), strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        if ours.dtype.kind in "iu":
            distance = np.abs(ours.astype(np.int64) - theirs.astype(np.int64))
            assert int(distance.max(initial=0)) <= steps, f"{int((distance > steps).sum())} of {ours.size} differ"
        else:
            np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)
