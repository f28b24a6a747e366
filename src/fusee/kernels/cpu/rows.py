"""The loops of ops that combine elements along axes: softmax, normalisations, reductions, running totals.

A group is split at its one such op, the anchor: what comes before is a formula of its operand, what follows a formula
of its result. Axes are joined as in a pointwise group, reduced ones apart from kept ones. Lanes run along the last
axis; when that one is reduced, the lanes of an accumulator are combined in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fusee.base.dims import Dim, ceildiv, product
from fusee.base.types import Shape
from fusee.ir.graph import Node, Op, Value
from fusee.kernels.cpu.coords import Coord, Lanes, Spot, linear, store
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.formula import FormulaWriter
from fusee.kernels.cpu.group import Addresses, Group, group_of, lanes_for
from fusee.kernels.cpu.ssa import Index, Ssa
from fusee.kernels.cpu.trace import Formula, Leaf, joined, leaves_of, row_major, strides_of, trace
from fusee.kernels.cpu.walk import UNIT_ELEMENTS, unravelled
from fusee.kernels.kernel import KernelCall
from fusee.ops.elementwise import Elementwise

Step = Callable[..., Sequence[Ssa]]  # (spot, lanes, *accumulators) -> new accumulators


@dataclass(frozen=True, eq=False)
class Rows:
    """A group split at its anchor, over joined axes."""

    group: Group
    anchor: Node
    before: Formula
    after: Formula
    sizes: tuple[Dim, ...]
    reduced: tuple[bool, ...]
    result: tuple[Dim, ...]
    leaves: dict[Leaf, tuple[Dim, ...]]

    @property
    def count(self) -> Dim:
        """How many elements are combined into one."""
        return product(size for size, gone in zip(self.sizes, self.reduced, strict=True) if gone)


def split(call: KernelCall, kind: type[Op], axes_of: Callable[[Op], tuple[int, ...]]) -> Rows | str:
    """The call split at its op of a kind, or why it cannot be."""
    group = group_of(call)
    anchors = [n for n in group.nodes if isinstance(n.op, kind)]
    if len(anchors) != 1 or len(group.body.outputs) != 1:
        return f"the group holds {len(anchors)} {kind.__name__} ops and {len(group.body.outputs)} results; not one each"
    (anchor,) = anchors
    if problem := _after_problem(group, anchor):
        return problem
    made = Value(anchor)
    before = trace(anchor.operands[0], group.strides)
    after = trace(group.body.outputs[0], {**group.strides, made: (0,) * made.type.rank})
    if isinstance(before, str) or isinstance(after, str):
        return before if isinstance(before, str) else str(after)
    return _joined_rows(group, anchor, before, after, axes_of(anchor.op))


def _after_problem(group: Group, anchor: Node) -> str:
    """What follows the anchor must be elementwise and of its result's shape."""
    reached = {anchor}
    for node in group.nodes:
        if any(v.node in reached for v in node.operands):
            reached.add(node)
            if not isinstance(node.op, Elementwise) or node.types[0].shape != anchor.types[0].shape:
                return f"{type(node.op).__name__} follows {type(anchor.op).__name__} and changes the shape"
    return "" if group.body.outputs[0].node in reached else "the result does not depend on the anchor"


def _joined_rows(group: Group, anchor: Node, before: Formula, after: Formula, axes: tuple[int, ...]) -> Rows:
    shape = anchor.operands[0].type.shape
    spread = _spreader(shape, anchor.types[0].shape, axes)
    early, late = leaves_of(before), [leaf for leaf in leaves_of(after) if leaf.value.node is not anchor]
    flags = row_major(tuple(d if i in axes else 1 for i, d in enumerate(shape)))
    marks = tuple(step if i in axes else 0 for i, step in enumerate(flags))
    result = spread(strides_of(group.call.results[0]))
    rows = [marks, result, *[leaf.steps for leaf in early], *[spread(leaf.steps) for leaf in late]]
    sizes, steps = joined(shape, rows)
    steps = [row or (0,) for row in steps]
    leaves = dict(zip((*early, *late), steps[2:], strict=True))
    reduced = tuple(mark != 0 for mark in steps[0])
    return Rows(group, anchor, before, after, sizes or (1,), reduced, steps[1], leaves)


def _spreader(shape: Shape, result: Shape, axes: tuple[int, ...]) -> Callable[[tuple[Dim, ...]], tuple[Dim, ...]]:
    """Strides over the result's axes as strides over the operand's: 0 along axes that are gone."""

    def spread(steps: tuple[Dim, ...]) -> tuple[Dim, ...]:
        if result == shape and len(steps) == len(shape):
            return steps
        if len(result) == len(shape):
            return tuple(0 if i in axes else step for i, step in enumerate(steps))
        rest = iter(steps)
        return tuple(0 if i in axes else next(rest) for i in range(len(shape)))

    return spread


def lane_axis(rows: Rows, longest: int) -> int:
    """The axis for lanes to run along: the last, unless it is reduced and so short that lanes would stay empty.

    Then lanes take neighbours along the last kept axis, which gathers elements of 32 bits or more.
    """
    last, lanes = len(rows.sizes) - 1, rows.group.call.target.vector_bytes // 4
    kept = [i for i, gone in enumerate(rows.reduced) if not gone]
    size = rows.sizes[last]
    if not rows.reduced[last] or not kept or not isinstance(size, int) or size > longest:
        return last
    neighbours = rows.sizes[kept[-1]]
    few = isinstance(neighbours, int) and neighbours < lanes
    return last if few or any(leaf.dtype.itemsize_bytes < 4 for leaf in rows.leaves) else kept[-1]


class RowLoops:
    """The loops over one call's rows while they are written. ``axis`` is the one that lanes run along."""

    def __init__(self, symbol: str, rows: Rows, along: int) -> None:
        self.e = Emitter(symbol, rows.group.call.target)
        self.rows = rows
        self.axis = along
        self.width = lanes_for(self.e, rows.group)
        self.addresses = Addresses(self.e, rows.group)
        self._writer = FormulaWriter(self.e, self.addresses, rows.leaves)
        self.dtype = rows.group.call.results[0].type.dtype

    @property
    def across(self) -> bool:
        """Whether lanes run along a reduced axis, so that they belong to one result."""
        return self.rows.reduced[self.axis]

    @property
    def _outer(self) -> list[int]:
        """Kept axes that are walked one position at a time."""
        return [i for i, gone in enumerate(self.rows.reduced) if not gone and i != self.axis]

    @property
    def _columns(self) -> Dim:
        return 1 if self.across else ceildiv(self.rows.sizes[self.axis], self.width)

    @property
    def items(self) -> Dim:
        return product(self.rows.sizes[i] for i in self._outer) * self._columns

    @property
    def per_unit(self) -> int:
        count = self.rows.count
        if not isinstance(count, int) or not isinstance(self.items, int):
            return 1
        return max(1, UNIT_ELEMENTS // max(1, count * (1 if self.across else self.width)))

    @property
    def units(self) -> Dim:
        return ceildiv(self.items, self.per_unit)

    def each(self, visit: Callable[[Spot, Lanes], None]) -> None:
        """Visit this call's share: one result row, or one vector of results. Reduced coordinates are 0 there."""
        e = self.e
        last = e.min(e.mul(e.hi, self.per_unit), e.dim(self.items))
        e.loop(e.mul(e.lo, self.per_unit), last, 1, lambda item: self._item(item, visit))

    def _item(self, item: Index, visit: Callable[[Spot, Lanes], None]) -> None:
        e, columns = self.e, self.e.dim(self._columns)
        spot = [Coord()] * len(self.rows.sizes)
        outer = unravelled(e, e.div(item, columns), [self.rows.sizes[i] for i in self._outer])
        for axis, index in zip(self._outer, outer, strict=True):
            spot[axis] = Coord(index)
        lanes = Lanes(self.width)
        if not self.across:
            start = e.mul(e.rem(item, columns), self.width)
            spot[self.axis] = Coord(start, 1)
            size = self.rows.sizes[self.axis]
            if not isinstance(size, int) or size % self.width:
                lanes = Lanes(self.width, e.first_lanes(e.sub(e.dim(size), start), self.width))
        visit(tuple(spot), lanes)

    def fold(self, spot: Spot, lanes: Lanes, step: Step, start: Sequence[Ssa]) -> tuple[Ssa, ...]:
        """Carry accumulators over all reduced positions of an item. Lanes that do not count keep theirs."""
        axes = [i for i, gone in enumerate(self.rows.reduced) if gone and i != self.axis]
        return self._fold(spot, lanes, axes, step, start)

    def _fold(self, spot: Spot, lanes: Lanes, axes: list[int], step: Step, carried: Sequence[Ssa]) -> tuple[Ssa, ...]:
        if axes:
            size = self.e.dim(self.rows.sizes[axes[0]])
            return self.e.loop(
                0, size, 1, lambda i, *c: self._fold(_put(spot, axes[0], Coord(i)), lanes, axes[1:], step, c), carried
            )
        if not self.across:
            return tuple(step(spot, lanes, *carried))
        return self._fold_row(spot, step, carried)

    def _fold_row(self, spot: Spot, step: Step, carried: Sequence[Ssa]) -> tuple[Ssa, ...]:
        e, size = self.e, self.e.dim(self.rows.sizes[self.axis])
        whole = e.mul(e.div(size, self.width), self.width)
        full = Lanes(self.width)
        if whole != 0:
            carried = e.loop(
                0, whole, self.width, lambda i, *c: step(_put(spot, self.axis, Coord(i, 1)), full, *c), carried
            )
        rest = e.sub(size, whole)
        if rest == 0:
            return tuple(carried)

        def tail() -> Sequence[Ssa]:
            lanes = Lanes(self.width, e.first_lanes(rest, self.width))
            new = step(_put(spot, self.axis, Coord(whole, 1)), lanes, *carried)
            return [e.select(lanes.mask_lanes(), n, c) for n, c in zip(new, carried, strict=True)]

        return tuple(tail()) if isinstance(rest, int) else e.branch(e.less(0, rest), tail, lambda: carried)

    def combined(self, combine: Callable[[Ssa, Ssa], Ssa], lanes: Ssa) -> Ssa:
        """An accumulator's total in every lane: of all lanes when they belong to one result."""
        return self.e.splat(self.e.reduce(combine, lanes), lanes.lanes) if self.across else lanes

    def operand(self, spot: Spot, lanes: Lanes) -> Ssa:
        """The anchor's operand at a place."""
        return self._writer.lanes(self.rows.before, spot, lanes)

    def put(self, value: Ssa, spot: Spot, lanes: Lanes) -> None:
        """Finish and store the anchor's result at a place."""
        value = self._writer.lanes(self.rows.after, spot, lanes, {Value(self.rows.anchor): value})
        at = linear(self.e, spot, self.rows.result, lanes.count)
        store(self.e, value, self.e.result(), self.dtype, at, lanes)

    def put_one(self, value: Ssa, spot: Spot, lanes: Lanes) -> None:
        """The same for a reduction, which has one result for all lanes that run across it."""
        if self.across:
            spot = _put(spot, self.axis, Coord(0))
            lanes = Lanes(self.width, self.e.first_lanes(1, self.width))
            value = self._writer.lanes(self.rows.after, spot, lanes, {Value(self.rows.anchor): value})
            at = linear(self.e, spot, self.rows.result, lanes.count)
            store(self.e, value, self.e.result(), self.dtype, Coord(at.base, 1), lanes)
        else:
            self.put(value, spot, lanes)


def _put(spot: Spot, axis: int, coord: Coord) -> Spot:
    return (*spot[:axis], coord, *spot[axis + 1 :])
