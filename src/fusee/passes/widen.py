"""Half precision computed in f32, where the backend has no fast kernels for it.

Inputs are widened once at the start and outputs narrowed once at the end; in between nothing is rounded to the
narrow type, so results are at least as close to the exact ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fusee.base.types import F32, DType
from fusee.ir.graph import Const, Graph, Input, Node, Op, Value
from fusee.ir.rewrite import Report
from fusee.ops.attention import Attention
from fusee.ops.cast import BitCast, Cast
from fusee.ops.conv_variants import ConvTranspose
from fusee.ops.element import Elementwise
from fusee.ops.index import Gather
from fusee.ops.linear import Conv, MatMul
from fusee.ops.pool import Pool
from fusee.ops.quantize import Dequantize, Quantize
from fusee.ops.reduce import LogSoftmax, Normalize, Reduce, Softmax
from fusee.ops.resize import Resize
from fusee.ops.shape import Concat, Expand, Pad, Reshape, Slice, Transpose

# Ops whose result has the element type of their operands, and is computed in f32 anyway.
WIDENED = (
    *(Attention, Conv, ConvTranspose, MatMul, Pool, Reduce, Softmax, LogSoftmax, Normalize, Resize),
    *(Concat, Expand, Gather, Pad, Reshape, Slice, Transpose, Elementwise),
)


def widen(narrow: tuple[DType, ...]) -> Callable[[Graph, Report], Graph]:
    """The pass that computes these element types in f32."""
    return lambda graph, report: _Widening(narrow, report).graph(graph)


class _Widening:
    """The walk: ``wide`` holds f32 forms of narrow values, ``plain`` the values as they were declared."""

    def __init__(self, narrow: tuple[DType, ...], report: Report) -> None:
        self.narrow, self.report = narrow, report
        self.wide: dict[Value, Value] = {}
        self.plain: dict[Value, Value] = {}

    def graph(self, graph: Graph) -> Graph:
        for node in graph.nodes():
            self.visit(node)
        outputs = tuple(self.as_declared(v) for v in graph.outputs)
        return Graph(graph.name, graph.inputs, outputs, graph.output_names) if self.wide else graph

    def visit(self, node: Node) -> None:
        if isinstance(node.op, Input | Const):
            return
        if self.is_widened(node) and self.report.may_fire:
            self.report.fire("widen", node)
            operands = [self.as_wide(v) for v in node.operands]
            self.keep(node, _wide_op(node, self.narrow).apply(*operands, loc=node.loc))
            return
        operands = tuple(self.as_declared(v) for v in node.operands)
        new = node if operands == node.operands else Node(node.op, operands, node.types, node.loc)
        self.plain |= dict(zip(node.results, new.results, strict=True))

    def is_widened(self, node: Node) -> bool:
        """Whether the node is of a kind, and of types, that f32 can stand for."""
        if not isinstance(node.op, WIDENED) or isinstance(node.op, Quantize | Dequantize | BitCast):
            return False
        types = [v.type.dtype for v in node.operands] + [t.dtype for t in node.types]
        return any(t in self.narrow for t in types) and getattr(node.op, "accumulate", None) is None

    def keep(self, node: Node, results: tuple[Value, ...]) -> None:
        for old, new in zip(node.results, results, strict=True):
            (self.plain if new.type == old.type else self.wide)[old] = new

    def as_wide(self, value: Value) -> Value:
        """The value in f32 when it is narrow, else as it is."""
        if value.type.dtype not in self.narrow:
            return self.plain.get(value, value)
        if value not in self.wide:
            self.wide[value] = _widened(self.plain.get(value, value))
        return self.wide[value]

    def as_declared(self, value: Value) -> Value:
        if value in self.wide and value not in self.plain and not isinstance(value.op, Input | Const):
            self.plain[value] = Cast(value.type.dtype)(self.wide[value], loc=value.node.loc)
        return self.plain.get(value, value)


def _wide_op(node: Node, narrow: tuple[DType, ...]) -> Op:
    """The node's op; a cast to a narrow type becomes one to f32."""
    return Cast(F32) if isinstance(node.op, Cast) and node.op.to in narrow else node.op


def _widened(value: Value) -> Value:
    if isinstance(value.op, Const):
        return Const(value.op.value.astype(np.float32))()
    return Cast(F32)(value, loc=value.node.loc)
