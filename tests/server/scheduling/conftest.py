"""Tiny engines, built once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from onnx import TensorProto, helper

import fusee


def build(
    nodes: Sequence[tuple[str, Sequence[str], str]], inputs: dict[str, tuple[int, list[str | int]]]
) -> fusee.Engine:
    """An engine of nodes (op, operands, result); ``y`` is its output, f32 of the first input's shape."""
    shape = next(iter(inputs.values()))[1]
    graph = helper.make_graph(
        [helper.make_node(op, list(operands), [result]) for op, operands, result in nodes],
        "small",
        [helper.make_tensor_value_info(name, kind, dims) for name, (kind, dims) in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    return fusee.build(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9))


@pytest.fixture(scope="session")
def identity() -> fusee.Engine:
    """y = x, f32[N,16]."""
    return build([("Identity", ["x"], "y")], {"x": (TensorProto.FLOAT, ["N", 16])})


@pytest.fixture(scope="session")
def adder() -> fusee.Engine:
    """y = a + b, f32[N,4]; both have as many items."""
    return build([("Add", ["a", "b"], "y")], {"a": (TensorProto.FLOAT, ["N", 4]), "b": (TensorProto.FLOAT, ["N", 4])})


@pytest.fixture(scope="session")
def fixed() -> fusee.Engine:
    """y = -x, f32[2,3]: one batch size only."""
    return build([("Neg", ["x"], "y")], {"x": (TensorProto.FLOAT, [2, 3])})
