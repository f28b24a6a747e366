"""Small ONNX models made in tests, and what the onnx package's own evaluator says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from fusee.base.types import Array
from fusee.ir.graph import Graph
from fusee.ir.reference import run
from fusee.onnx.importer import import_model

NEWEST = onnx.defs.onnx_opset_version()
Names = Sequence[str | int | None]


def info(name: str, array: Array, shape: Names | None = None) -> onnx.ValueInfoProto:
    dtype = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, dtype, list(array.shape if shape is None else shape))


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Array],
    outputs: Sequence[str],
    *,
    shapes: Mapping[str, Names] | None = None,
    constants: Mapping[str, Array] | None = None,
    opset: int = NEWEST,
    domain: str = "",
) -> onnx.ModelProto:
    """A model of the nodes. Inputs have the shapes of the arrays, or those given by name; constants are weights."""
    shapes = shapes or {}
    graph = helper.make_graph(
        list(nodes),
        "small",
        [info(n, a, shapes.get(n)) for n, a in inputs.items()],
        [onnx.ValueInfoProto(name=n) for n in outputs],
        [numpy_helper.from_array(a, n) for n, a in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets)


def named(inputs: Mapping[str, Array]) -> dict[str, Names]:
    """Every dimension of every input as a name of its own."""
    return {n: [f"{n}_{d}" for d in range(a.ndim)] for n, a in inputs.items()}


def expected(proto: onnx.ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
    found = ReferenceEvaluator(proto).run(None, dict(inputs))
    return {o.name: np.asarray(a) for o, a in zip(proto.graph.output, found, strict=True)}


def assert_same(found: Mapping[str, Array], wanted: Mapping[str, Any]) -> None:
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        np.testing.assert_allclose(found[name].astype(np.float64), array.astype(np.float64), rtol=1e-5, atol=1e-6)


def check(
    nodes: onnx.NodeProto | Sequence[onnx.NodeProto],
    inputs: Mapping[str, Array],
    outputs: Sequence[str] = ("y",),
    *,
    operands: Mapping[str, Array] | None = None,
    opset: int = NEWEST,
    shapes: Mapping[str, Names] | None = None,
) -> None:
    """Import and run a model three ways, and compare each with the onnx evaluator.

    ``inputs`` have fixed shapes, then a name for each dimension (or ``shapes``); ``operands`` are weights, then inputs
    as well, so that the sizes in them are known only at run time.
    """
    nodes = [nodes] if isinstance(nodes, onnx.NodeProto) else nodes
    operands = operands or {}
    plain = model(nodes, inputs, outputs, constants=operands, opset=opset)
    wanted = expected(plain, inputs)
    assert_same(run(import_model(plain), inputs), wanted)
    dims = shapes or named(inputs)
    dynamic = model(nodes, inputs, outputs, constants=operands, opset=opset, shapes=dims)
    assert_same(run(import_model(dynamic), inputs), wanted)
    if operands:
        everything = {**inputs, **operands}
        assert_same(run(import_model(model(nodes, everything, outputs, opset=opset, shapes=dims)), everything), wanted)


def imported(
    nodes: Sequence[onnx.NodeProto], inputs: Mapping[str, Array], outputs: Sequence[str] = ("y",), **options: Any
) -> Graph:
    return import_model(model(nodes, inputs, outputs, **options))


node = helper.make_node
