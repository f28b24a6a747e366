"""Small models and backends with a kernel that is wrong on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from fusee.base.types import Array
from fusee.ir.graph import Const, Graph, Op
from fusee.kernels.cpu import CPU
from fusee.kernels.cpu.group import group_of
from fusee.kernels.cpu.pointwise import Pointwise
from fusee.kernels.kernel import Backend, Code, KernelCall, Tactic
from fusee.ops.binary import Mul
from fusee.ops.fused import Fused


class Wrong(Pointwise):
    """Computes groups that contain an op, and multiplies their results by a factor."""

    def __init__(self, name: str, contains: type[Op], factor: float) -> None:
        self._name, self._contains, self._factor = name, contains, factor

    @property
    def name(self) -> str:
        return self._name

    def refuses(self, call: KernelCall) -> str:
        if not any(isinstance(n.op, self._contains) for n in group_of(call).body.nodes()):
            return f"the group has no {self._contains.__name__}"
        return super().refuses(call)

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        body = group_of(call).body
        factor = Const(np.array(self._factor, np.float32))()
        scaled = Graph("wrong", body.inputs, tuple(Mul()(v, factor) for v in body.outputs), body.output_names)
        return super().emit(replace(call, op=Fused(scaled)), tactic, symbol)


def backend_with(*wrong: Wrong, only: bool = False) -> Backend:
    """The CPU's kernels after these; of the others those for matrix products alone when ``only``."""
    others = [k for k in CPU.kernels if not only or "MatMul" in k.name]
    return Backend("cpu", (*wrong, *others))


def model(nodes: Sequence[onnx.NodeProto], shape: Sequence[int | str], weights: dict[str, Array]) -> onnx.ModelProto:
    """A model from x to y, both f32 of one shape."""
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, list(shape)) for n in "xy")
    initializers = [numpy_helper.from_array(a, n) for n, a in weights.items()]
    graph = helper.make_graph(list(nodes), "small", [x], [y], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def sigmoid_then_product() -> tuple[onnx.ModelProto, Array]:
    """y = sigmoid(x) @ w, and w."""
    w = np.random.default_rng(4).standard_normal((40, 40)).astype(np.float32)
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["s"], name="Sigmoid_1"),
        helper.make_node("MatMul", ["s", "w"], ["y"], name="MatMul_2"),
    ]
    return model(nodes, (2, 40), {"w": w}), w


def logistic_map(steps: int) -> onnx.ModelProto:
    """y = 3.9 y (1 - y), again and again, from x in [0, 1]: every step about doubles what errors there are."""
    nodes = [helper.make_node("Sigmoid", ["x"], ["v0"])]
    for i in range(steps):
        nodes += [
            helper.make_node("Sub", ["one", f"v{i}"], [f"rest{i}"]),
            helper.make_node("Mul", [f"v{i}", f"rest{i}"], [f"area{i}"]),
            helper.make_node("Mul", [f"area{i}", "rate"], [f"v{i + 1}" if i + 1 < steps else "y"]),
        ]
    return model(nodes, (2, 40), {"one": np.float32([1]), "rate": np.float32([3.9])})
