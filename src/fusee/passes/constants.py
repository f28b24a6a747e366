"""Compute at build what does not depend on the inputs, by running the reference of each op."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusee.ir.graph import Const, Graph, Node, Value, const_array
from fusee.ir.rewrite import Report, rebuild
from fusee.ops.quantize import Dequantize

SMALL_BYTES = 1 << 20  # a result up to this size may be stored even when it is larger than what it is made from
GROWTH = 4  # larger results may be at most so many times the operands


def fold_constants(graph: Graph, report: Report) -> Graph:
    """Fold every op on constants but Dequantize: quantised weights stay as they are until precision is settled."""
    return _folded(graph, report, keep=(Dequantize,))


def fold_weights(graph: Graph, report: Report) -> Graph:
    """Fold Dequantize of constants as well: what no integer kernel takes becomes a float weight."""
    return _folded(graph, report, keep=())


def _folded(graph: Graph, report: Report, keep: tuple[type, ...]) -> Graph:
    def visit(node: Node) -> Sequence[Value]:
        if isinstance(node.op, keep) or not _foldable(node) or not report.may_fire:
            return node.results
        if _size_bytes(node) > max(SMALL_BYTES, GROWTH * sum(_bytes(v) for v in node.operands)):
            report.decline("fold-constants", node, f"the result {node.types[0]} is much larger than its operands")
            return node.results
        report.fire("fold-constants", node)
        with np.errstate(all="ignore"):
            arrays = node.op.compute(*[v.op.value for v in node.operands if isinstance(v.op, Const)])
        return tuple(Const(np.asarray(a, order="C"))() for a in arrays)

    return rebuild(graph, visit)


def _foldable(node: Node) -> bool:
    """Whether the node is a function of constants alone, of sizes known now."""
    op = node.op
    if not node.operands or not all(isinstance(v.op, Const) for v in node.operands):
        return False
    if op.on_host or op.subgraphs() or op.symbols() or op.defined_symbols() or op.element_symbols():
        return False
    return all(t.is_static for t in node.types)


def _size_bytes(node: Node) -> int:
    return sum(int(np.prod(t.static_shape(), dtype=np.int64)) * t.dtype.itemsize_bytes for t in node.types)


def _bytes(value: Value) -> int:
    array = const_array(value)
    return 0 if array is None else array.nbytes
