"""Side by side: products of one operand with several narrow weights become one product, and slices of its result.

A kernel computes whole vectors of columns: 4 columns and 1 column of two products cost two vectors, 5 columns of one
product cost one. The heads of detectors are made of such products. What follows in all of them (biases,
activations) follows once; where they go different ways, slices tell them apart.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from fusee.base.types import Array
from fusee.ir.graph import Const, Graph, Node, Value, const_array
from fusee.ir.rewrite import Report
from fusee.ops.element import Elementwise
from fusee.ops.linear import Conv, MatMul
from fusee.ops.shape import Slice
from fusee.passes.known import along_axis

LANES = 16  # columns in the widest vector of f32
COPY_COST = 50  # multiply-adds of a vector's lane that take as long as copying one element out of a strided row


@dataclass(frozen=True)
class Part:
    """One of the products that are about to be joined: its result so far, ``width`` columns of it."""

    value: Value
    width: int


def join(graph: Graph, report: Report) -> Graph:
    """Join the products of each operand where that pays."""
    users = _users(graph)
    new: dict[Value, Value] = {}
    for nodes in _alike(graph):
        reason = why_not([_width(n) for n in nodes], _depth(nodes[0]))
        if reason:
            report.decline("join", nodes[0], reason)
        elif report.may_fire:
            report.fire("join", nodes[0])
            new |= _joined([n for n in nodes if _width(n) % LANES], users)
    return graph.replace(new) if new else graph


def why_not(widths: Sequence[int], depth: int) -> str:
    """Why joining products of these numbers of columns, each a sum of ``depth`` products, does not pay; or nothing.

    It saves the lanes that stay empty, in every row; it costs a copy of every column, at worst.
    """
    narrow = [w for w in widths if w % LANES]
    if len(narrow) < 2:
        return f"of the results with {_listed(widths)} columns at most one leaves lanes of a vector empty"
    saved = sum(_padded(w) for w in narrow) - _padded(sum(narrow))
    if saved * depth <= COPY_COST * sum(narrow):
        return f"joining {_listed(narrow)} columns of depth {depth} saves {saved} lanes, less than telling them apart"
    return ""


def _padded(width: int) -> int:
    return -(-width // LANES) * LANES


def _listed(widths: Sequence[int]) -> str:
    return ", ".join(map(str, widths))


def _users(graph: Graph) -> dict[Value, list[Node]]:
    """The nodes that take each value; an output of the graph counts as taken by the node that makes it."""
    users: dict[Value, list[Node]] = {v: [v.node] for v in graph.outputs}
    for node in graph.nodes():
        for value in dict.fromkeys(node.operands):
            users.setdefault(value, []).append(node)
    return users


def _alike(graph: Graph) -> list[list[Node]]:
    """Products by constant weights that differ in the number of their columns only, two or more together."""
    groups: dict[Hashable, list[Node]] = {}
    for node in graph.nodes():
        if _is_product(node):
            weight = list(node.operands[1].type.shape)
            weight[_columns_axis(node)] = 0
            kinds = tuple(v.type.dtype for v in node.operands)
            groups.setdefault((type(node.op), node.op, node.operands[0], tuple(weight), kinds), []).append(node)
    return [nodes for nodes in groups.values() if len(nodes) > 1]


def _is_product(node: Node) -> bool:
    if not all(isinstance(v.op, Const) for v in node.operands[1:]):
        return False
    if isinstance(node.op, MatMul):
        return node.operands[1].type.rank == 2
    return isinstance(node.op, Conv) and node.op.group == 1


def _columns_axis(node: Node) -> int:
    """The axis of the weight that becomes the result's columns."""
    return 1 if isinstance(node.op, MatMul) and not node.op.trans_b else 0


def _width(node: Node) -> int:
    return node.operands[1].type.static_shape()[_columns_axis(node)]


def _depth(node: Node) -> int:
    """How many products each element of the result adds up."""
    return int(np.prod(node.operands[1].type.static_shape())) // max(_width(node), 1)


def _joined(nodes: list[Node], users: dict[Value, list[Node]]) -> dict[Value, Value]:
    """What stands for the results of the nodes, or of what follows all of them."""
    first = nodes[0]
    loc = _places(nodes)
    arrays = [[_known(v) for v in column] for column in zip(*(n.operands[1:] for n in nodes), strict=True)]
    axes = (_columns_axis(first), *(0 for _ in first.operands[2:]))
    constants = [Const(np.concatenate(a, axis))() for a, axis in zip(arrays, axes, strict=True)]
    whole = first.op(first.operands[0], *constants, loc=loc)
    axis = 1 if isinstance(first.op, Conv) and first.op.layout == "NCHW" else whole.type.rank - 1
    parts = [Part(n.results[0], _width(n)) for n in nodes]
    while (step := _followed(whole, parts, axis, users)) is not None:
        whole, parts = step
    return _sliced(whole, parts, axis)


def _known(value: Value) -> Array:
    array = const_array(value)
    assert array is not None
    return array


def _followed(
    whole: Value, parts: list[Part], axis: int, users: dict[Value, list[Node]]
) -> tuple[Value, list[Part]] | None:
    """The op that follows every part, once, on the whole; None when they go different ways."""
    nexts = [users[p.value][0] for p in parts]
    if any(len(users[p.value]) > 1 or not _follows(n, nexts[0], p) for n, p in zip(nexts, parts, strict=True)):
        return None
    operands: list[Value] = []
    for column in zip(*(n.operands for n in nexts), strict=True):
        found = whole if column[0] == parts[0].value else _beside(column, parts, axis)
        if found is None:
            return None
        operands.append(found)
    grown = [Part(n.results[0], p.width) for n, p in zip(nexts, parts, strict=True)]
    return nexts[0].op(*operands, loc=_places(nexts)), grown


def _follows(node: Node, first: Node, part: Part) -> bool:
    """Whether the node does to the part what ``first`` does to the first part."""
    if node is part.value.node or not isinstance(node.op, Elementwise) or node.op != first.op:
        return False
    if len(node.operands) != len(first.operands) or node.operands.count(part.value) != 1:
        return False
    at = node.operands.index(part.value)
    return not isinstance(first.operands[at].op, Const) and node.types[0].shape == part.value.type.shape


def _places(nodes: Sequence[Node]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for n in nodes for name in n.loc))


def _beside(values: tuple[Value, ...], parts: list[Part], axis: int) -> Value | None:
    """Constants of the parts' columns side by side; None when they are not that."""
    rank = parts[0].value.type.rank
    columns = [along_axis(v, rank, axis) for v in values]
    if any(c is None for c in columns) or len({v.type.dtype for v in values}) > 1:
        return None
    wide = [np.broadcast_to(c, (p.width,)) for c, p in zip(columns, parts, strict=True) if c is not None]
    return Const(np.concatenate(wide).reshape(-1, *[1] * (rank - 1 - axis)))()


def _sliced(whole: Value, parts: list[Part], axis: int) -> dict[Value, Value]:
    """Each part's result as a slice of the whole."""
    found: dict[Value, Value] = {}
    start = 0
    for part in parts:
        starts = tuple(start if i == axis else 0 for i in range(whole.type.rank))
        found[part.value] = Slice(starts, part.value.type.shape, (1,) * whole.type.rank)(whole, loc=part.value.node.loc)
        start += part.width
    return found
