"""A group of elementwise ops and plain movements seen as one formula over views of its operands.

Transposes, expansions and slices only change how an operand is walked, so each operand becomes a ``Leaf``: a start and
a stride per axis of the result. Axes that all tensors cross evenly are then joined into long rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusee.base.dims import Dim, product
from fusee.base.types import DType, Shape
from fusee.ir.graph import Const, Node, Value
from fusee.kernels.kernel import Operand
from fusee.ops.elementwise import Elementwise
from fusee.ops.quantize import Dequantize, Quantize
from fusee.ops.shape import Expand, Full, Reshape, Slice, Transpose


def row_major(shape: Shape) -> tuple[Dim, ...]:
    return tuple(product(shape[axis + 1 :]) for axis in range(len(shape)))


def strides_of(operand: Operand) -> tuple[Dim, ...]:
    """Distances in elements between neighbours along each axis."""
    return row_major(operand.type.shape) if operand.strides is None else operand.strides


@dataclass(frozen=True)
class Leaf:
    """A view of a tensor that exists: element at ``offset + sum(coordinate * step)``."""

    value: Value
    dtype: DType
    offset: Dim
    steps: tuple[Dim, ...]


@dataclass(frozen=True)
class Apply:
    """An elementwise op on formulas."""

    node: Node
    operands: tuple[Formula, ...]


Formula = Leaf | Apply | Const


@dataclass(frozen=True)
class _Way:
    """How one axis of an inner tensor follows from the result's coordinates: ``start + step * coordinate[axis]``."""

    axis: int | None
    start: Dim = 0
    step: Dim = 1


def trace(value: Value, strides: dict[Value, tuple[Dim, ...]]) -> Formula | str:
    """The formula of a value over its leaves, whose strides are given; or why it is none."""
    tracer = _Tracer(value.type.rank, strides)
    try:
        return tracer.visit(value, tuple(_Way(i) for i in range(value.type.rank)))
    except _Refused as refused:
        return str(refused)


class _Refused(Exception):
    """The group is not a plain formula."""


class _Tracer:
    def __init__(self, rank: int, strides: dict[Value, tuple[Dim, ...]]) -> None:
        self._rank = rank
        self._strides = strides
        self._known: dict[tuple[Value, tuple[_Way, ...]], Formula] = {}

    def visit(self, value: Value, ways: tuple[_Way, ...]) -> Formula:
        key = (value, ways)
        if key not in self._known:
            self._known[key] = self._new(value, ways)
        return self._known[key]

    def _new(self, value: Value, ways: tuple[_Way, ...]) -> Formula:
        if value in self._strides:
            return self._leaf(value, ways)
        op = value.op
        if isinstance(op, Elementwise):
            operands = value.operands
            inner = [self._operand_ways(value.node, i, ways) for i in range(len(operands))]
            return Apply(value.node, tuple(self.visit(v, w) for v, w in zip(operands, inner, strict=True)))
        ways = self._through(value, ways)
        return self.visit(value.operands[0], ways)

    def _operand_ways(self, node: Node, index: int, ways: tuple[_Way, ...]) -> tuple[_Way, ...]:
        shape, op = node.operands[index].type.shape, node.op
        if isinstance(op, Quantize | Dequantize) and index > 0:
            if op.axis is None:
                return tuple(_Way(None) for _ in shape)
            if op.block is not None:
                raise _Refused("it quantises in blocks")
            return tuple(ways[op.axis] for _ in shape)
        return _broadcast(shape, ways)

    def _through(self, value: Value, ways: tuple[_Way, ...]) -> tuple[_Way, ...]:
        """How the operand of a movement is walked."""
        op, inner = value.op, value.operands[0].type.shape if value.operands else ()
        if isinstance(op, Transpose):
            return tuple(ways[op.perm.index(axis)] for axis in range(len(inner)))
        if isinstance(op, Expand):
            return _broadcast(inner, ways)
        if isinstance(op, Full):
            return ()
        if isinstance(op, Slice):
            rows = zip(ways, op.starts, op.steps, strict=True)
            return tuple(_Way(w.axis, start + step * w.start, step * w.step) for w, start, step in rows)
        if isinstance(op, Reshape):
            return _reshaped(value.type.shape, inner, ways)
        raise _Refused(f"{type(op).__name__} is neither elementwise nor a plain movement")

    def _leaf(self, value: Value, ways: tuple[_Way, ...]) -> Formula:
        if isinstance(value.op, Const) and value.op.value.size == 1:
            return value.op
        steps: list[Dim] = [0] * self._rank
        offset: Dim = 0
        for way, stride, size in zip(ways, self._strides[value], value.type.shape, strict=True):
            offset = offset + way.start * stride
            if way.axis is not None and size != 1:
                steps[way.axis] = steps[way.axis] + way.step * stride
        return Leaf(value, value.type.dtype, offset, tuple(steps))


def _broadcast(shape: Shape, ways: tuple[_Way, ...]) -> tuple[_Way, ...]:
    last = ways[len(ways) - len(shape) :]
    return tuple(_Way(None) if size == 1 else way for size, way in zip(shape, last, strict=True))


def _reshaped(shape: Shape, inner: Shape, ways: tuple[_Way, ...]) -> tuple[_Way, ...]:
    """Axes of size 1 may come and go; anything else moves elements between axes."""
    kept = [way for size, way in zip(shape, ways, strict=True) if size != 1]
    if [s for s in shape if s != 1] != [s for s in inner if s != 1]:
        raise _Refused("a reshape inside the group joins or splits axes")
    rest = iter(kept)
    return tuple(_Way(None) if size == 1 else next(rest) for size in inner)


def leaves_of(formula: Formula) -> list[Leaf]:
    """Every leaf once."""
    found: dict[Leaf, None] = {}
    seen: set[int] = set()

    def visit(part: Formula) -> None:
        if isinstance(part, Leaf):
            found[part] = None
        elif isinstance(part, Apply) and id(part) not in seen:
            seen.add(id(part))
            for operand in part.operands:
                visit(operand)

    visit(formula)
    return list(found)


def joined(sizes: Sequence[Dim], steps: Sequence[Sequence[Dim]]) -> tuple[tuple[Dim, ...], list[tuple[Dim, ...]]]:
    """Fewer, longer axes: those of size 1 go, neighbours that every tensor crosses evenly become one."""
    kept: list[tuple[Dim, tuple[Dim, ...]]] = []
    for axis in reversed(range(len(sizes))):
        here = tuple(row[axis] for row in steps)
        if sizes[axis] == 1:
            continue
        if kept and all(o == i * kept[-1][0] for o, i in zip(here, kept[-1][1], strict=True)):
            kept[-1] = (kept[-1][0] * sizes[axis], kept[-1][1])
        else:
            kept.append((sizes[axis], here))
    kept.reverse()
    return tuple(size for size, _ in kept), [tuple(k[1][i] for k in kept) for i in range(len(steps))]
