"""Attention in one kernel: a few query rows at a time, their scores in scratch, softmax, then their mix of values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar

from fusee.base.dims import Dim, ceildiv
from fusee.base.types import BOOL, F32, Array
from fusee.ir.graph import Op
from fusee.kernels.cpu.anchor import Anchored, split_at
from fusee.kernels.cpu.contraction import Blocks, TileTactic, cascade, over_columns
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.epilogue import (
    SPILL_BYTES,
    Columns,
    Epilogue,
    Spot,
    attach,
    enter_inner,
    lying_problem,
    pixel_steps,
    tensors_of,
)
from fusee.kernels.cpu.math_exp import exp
from fusee.kernels.cpu.panels import Matrix, ScratchPanels, panel_bytes
from fusee.kernels.cpu.space import Space, broadcast_steps, merge_axes, strides_of
from fusee.kernels.cpu.ssa import Index, Ssa, lane_numbers, literal, vector
from fusee.kernels.cpu.tile import Taps, accumulate, most_pixels, over_cascade, over_split, zeros
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic
from fusee.ops.attention import Attention
from fusee.ops.fused import Fused

_ROWS = 96  # query rows that share one packing of keys and values
_FIRST_LEAF = 4  # steps of the space: q, k, v, mask, then the group's other tensors


@dataclass(frozen=True, eq=False)
class _Plan:
    """A call taken apart. The space's axes: two of the batch, then the query rows (0 for k and v)."""

    call: KernelCall
    group: Anchored
    op: Attention
    space: Space
    inner: tuple[tuple[Dim, Dim], ...]  # of q, k, v, mask: strides along the last two axes
    keys: Dim  # T
    depth: Dim  # D
    width: Dim  # E

    @staticmethod
    def of(call: KernelCall) -> _Plan | str:
        """The attention of a call, or why this kernel does not compute it."""
        group = split_at(call, Attention)
        if isinstance(group, str):
            return group
        if problem := _problem(group):
            return problem
        op, operands = group.op, [s.operand for s in group.inputs]
        assert isinstance(op, Attention)
        rank = len(group.shape)
        lay = [broadcast_steps(t.type.shape, strides_of(t), rank) for t in operands]
        lay += [(0,) * rank] * (_FIRST_LEAF - len(lay))
        others = [pixel_steps(t, rank) for t in tensors_of(group)]
        space = merge_axes(group.shape[:-2], [*[row[:-2] for row in lay], *[row[:-1] for row in others]])
        if space is None or space.sizes[0] != 1:
            return f"the batch of {group.shape} does not merge into two axes"
        rows = [lay[0][-2], 0, 0, lay[3][-2], *[row[-1] for row in others]]
        steps = tuple((h, w, r) for (_, h, w), r in zip(space.steps, rows, strict=True))
        full = Space((space.sizes[1], space.sizes[2], group.shape[-2]), steps)
        inner = tuple((row[-2], row[-1]) for row in lay)
        keys, depth = operands[1].type.shape[-2:]
        return _Plan(call, group, op, full, inner, keys, depth, group.shape[-1])

    @property
    def has_mask(self) -> bool:
        return len(self.group.inputs) == _FIRST_LEAF

    @property
    def is_fixed(self) -> bool:
        """Whether rows of scores and of queries lie at distances known at build."""
        return isinstance(self.keys, int) and isinstance(self.space.steps[0][2], int)

    def tactic(self) -> TileTactic:
        target = self.call.target
        vectors = 4 if not self.is_fixed and target.vector_registers == 32 else 2
        pixels = most_pixels(vectors, target)
        return TileTactic(pixels, vectors, max(1, _ROWS // pixels), 1, panels_outer=False, units_by_panel=False)

    def emit(self, tactic: TileTactic, symbol: str) -> Code:
        e = Emitter(symbol, self.call.target)
        job = _Job.of(e, self, tactic)
        e.loop(e.lo, e.hi, 1, job.unit)
        batch = self.space.sizes[0] * self.space.sizes[1]
        launch = e.launch(batch * job.blocks.pixel_blocks, job.scratch_bytes)
        return Code(e.text(), (launch,), frozenset(e.declarations), tuple(job.constants))


def _problem(group: Anchored) -> str:
    operands = [s.operand for s in group.inputs]
    q, k, v = operands[:3]
    if group.dtype is not F32 or any(s.index is None for s in group.inputs):
        return f"{q.type} is not f32, or an operand is a constant of the group"
    if 0 in group.shape or 0 in k.type.shape:
        return "there is nothing to compute"
    if any(m.type.dtype not in (F32, BOOL) or _last(m.type.shape, strides_of(m)) not in (0, 1) for m in operands[3:]):
        return f"the mask {operands[3].type} is not contiguous along the keys"
    if strides_of(q)[-1] != 1 or strides_of(v)[-1] != 1 or 1 not in strides_of(k)[-2:]:
        return f"the rows of {q.type}, {k.type} or {v.type} do not lie side by side"
    rank = len(group.shape)
    return next((p for t in tensors_of(group) if (p := lying_problem(t, rank))), "")


def _last(shape: Sequence[Dim], strides: Sequence[Dim]) -> Dim:
    return 0 if not shape or shape[-1] == 1 else strides[-1]


@dataclass(frozen=True, eq=False)
class _Job:
    """The emission of one call: units are batch by blocks of query rows."""

    e: Emitter
    plan: _Plan
    blocks: Blocks
    epilogue: Epilogue
    constants: list[Array]
    softmax: Emitter

    @staticmethod
    def of(e: Emitter, plan: _Plan, tactic: TileTactic) -> _Job:
        constants: list[Array] = []
        blocks = Blocks((1, 1, plan.space.sizes[2]), plan.width, e.lanes_for("float"), tactic)
        epilogue = attach(e, plan.group, plan.space.steps[_FIRST_LEAF:], constants)
        return _Job(e, plan, blocks, epilogue, constants, _softmax_function(e, plan.keys, blocks.panel_width))

    @property
    def panel_width(self) -> int:
        return self.blocks.panel_width

    @property
    def score_bytes(self) -> Dim:
        """From one row of scores to the next: whole panels."""
        return _score_bytes(self.plan.keys, self.panel_width)

    @property
    def key_bytes(self) -> Dim:
        return panel_bytes(self.plan.depth, self.panel_width, ceildiv(self.plan.keys, self.panel_width))

    @property
    def value_bytes(self) -> Dim:
        return panel_bytes(self.plan.keys, self.panel_width, ceildiv(self.plan.width, self.panel_width))

    @property
    def scratch_bytes(self) -> Dim:
        pixels = self.blocks.tactic.pixels
        return SPILL_BYTES + self.key_bytes + self.value_bytes + self.score_bytes * pixels + 4 * pixels

    def unit(self, unit: Index) -> None:
        e, plan = self.e, self.plan
        batch, block = e.div(unit, e.dim(self.blocks.pixel_blocks)), e.rem(unit, e.dim(self.blocks.pixel_blocks))
        inner = e.dim(plan.space.sizes[1])
        n, h = e.div(batch, inner), e.rem(batch, inner)
        at = [self._start(i, n, h) for i in range(len(plan.group.inputs))]
        down, right = plan.inner[1]
        buffer = e.offset(e.scratch, SPILL_BYTES)
        keys = ScratchPanels(Matrix(at[1], plan.depth, plan.keys, right, down), buffer, self.panel_width, 0)
        values = ScratchPanels(
            Matrix(at[2], plan.keys, plan.width, *plan.inner[2]),
            e.offset(buffer, e.dim(self.key_bytes)),
            self.panel_width,
            0,
        )
        keys.pack(e, e.dim(plan.keys))
        values.pack(e, e.dim(plan.width))
        scores = e.offset(values.buffer, e.dim(self.value_bytes))
        rows = _Rows(self, keys, values, scores, at[0], at[3] if plan.has_mask else None)
        self._over_rows(self.blocks.stretch(e, block), lambda w, height: rows.emit(Spot(n, h, w, 1, height)))

    def _over_rows(self, ends: tuple[Index, Index], visit: Callable[[Index, int], None]) -> None:
        split = self.blocks.row_split
        if split is not None:
            over_split(self.e, split, *ends, visit)
        else:
            over_cascade(self.e, cascade(self.blocks.tactic.pixels), *ends, visit)

    def _start(self, tensor: int, n: Index, h: Index) -> Ssa:
        """Where a batch of q, k, v or the mask begins."""
        e = self.e
        outer, inner, _ = self.plan.space.steps[tensor]
        source = self.plan.group.inputs[tensor]
        assert source.index is not None
        index = e.add(e.mul(n, e.dim(outer)), e.mul(h, e.dim(inner)))
        return e.offset(e.operand(source.index), e.mul(index, source.operand.type.dtype.itemsize_bytes))


@dataclass(frozen=True, eq=False)
class _Rows:
    """A few query rows against all keys and values of their batch."""

    job: _Job
    keys: ScratchPanels
    values: ScratchPanels
    scores: Ssa
    queries: Ssa
    mask: Ssa | None

    @property
    def e(self) -> Emitter:
        return self.job.e

    def emit(self, spot: Spot) -> None:
        e, plan, job = self.e, self.job.plan, self.job
        seen = self._seen(spot)
        step = e.mul(e.dim(plan.space.steps[0][2]), 4)
        at = e.offset(self.queries, e.mul(spot.w, step))
        queries = [_near(e, at, e.mul(step, i)) for i in range(spot.width)]
        vectors = job.blocks.tactic.vectors
        keys, width = e.dim(plan.keys), e.dim(plan.width)
        over_columns(e, keys, vectors, (0, keys), lambda c: self._score(spot, c, queries))
        row_bytes = e.dim(job.score_bytes)
        sums = e.offset(self.scores, e.mul(row_bytes, job.blocks.tactic.pixels))
        enter_inner(e, job.softmax, e.scratch, [self.scores, sums], (spot.width, seen))
        mixed = [_near(e, self.scores, e.mul(row_bytes, i)) for i in range(spot.width)]
        over_columns(e, width, vectors, (0, width), lambda c: self._mix(spot, c, mixed, sums))

    def _seen(self, spot: Spot) -> Index:
        """How many keys matter to any of the rows."""
        e, plan = self.e, self.job.plan
        if not plan.op.causal:
            return e.dim(plan.keys)
        return e.max(e.min(e.add(e.add(spot.w, spot.width), e.dim(plan.op.offset)), e.dim(plan.keys)), 0)

    def _score(self, spot: Spot, columns: Columns, queries: Sequence[Ssa | tuple[Ssa, int]]) -> None:
        """Scores of one panel of keys, scaled and masked, into scratch."""
        e, job = self.e, self.job
        weights = self.keys.panel(e, columns.first), self.keys.step_bytes(e, columns.vectors)
        taps = Taps(1, 0, 1, 0, job.plan.depth)
        start = zeros(e, spot.width * columns.vectors)
        found = accumulate(e, taps, queries, weights, start, columns.vectors)
        type, width = found[0].type, e.target.vector_bytes
        scale = literal(type, job.plan.op.scale)
        for r in range(spot.width):
            to = e.at(e.offset(self.scores, e.mul(e.dim(job.score_bytes), r)), "float", columns.first)
            for j in range(columns.vectors):
                value = e.fmul(found[r * columns.vectors + j], scale)
                column = e.add(columns.first, j * job.blocks.lanes)
                value = self._masked(value, e.add(spot.w, r), column, columns.masks[j])
                e.store(value, e.offset(to, j * width), width)

    def _masked(self, value: Ssa, row: Index, column: Index, lanes: Ssa | None) -> Ssa:
        e, plan = self.e, self.job.plan
        if self.mask is not None:
            value = self._with_mask(value, self.mask, row, column, lanes)
        if plan.op.causal:
            numbers = lane_numbers(vector("i32", value.lanes))
            limit = e.add(e.sub(e.add(row, e.dim(plan.op.offset)), column), 1)
            kept = e.assign("i32", f"trunc i64 {e.i64(e.max(limit, 0))} to i32")
            inside = e.icmp("ult", numbers, e.splat(kept, value.lanes))
            value = e.select(inside, value, literal(value.type, -inf))
        return value

    def _with_mask(self, value: Ssa, mask: Ssa, row: Index, column: Index, lanes: Ssa | None) -> Ssa:
        e, plan = self.e, self.job.plan
        is_bool = plan.group.inputs[3].operand.type.dtype is BOOL
        element = "i8" if is_bool else "float"
        down, right = plan.inner[3]
        at = e.at(mask, element, e.add(e.mul(row, e.dim(down)), e.mul(column, e.dim(right))))
        given = self._mask_vector(element, at, right, value.lanes, lanes)
        if not is_bool:
            return e.fadd(value, given)
        seen = e.icmp("ne", given, literal(given.type, 0))
        return e.select(seen, value, literal(value.type, -inf))

    def _mask_vector(self, element: str, at: Ssa, step: Dim, count: int, lanes: Ssa | None) -> Ssa:
        e = self.e
        if step == 0:
            return e.splat(e.load(element, at), count)
        type = vector(element, count)
        return e.load(type, at) if lanes is None else e.load_masked(type, at, lanes)

    def _mix(self, spot: Spot, columns: Columns, rows: Sequence[Ssa | tuple[Ssa, int]], sums: Ssa) -> None:
        """The values weighted by the exponentials, divided by their sum, through the epilogue."""
        e, lanes = self.e, self.job.blocks.lanes
        weights = self.values.panel(e, columns.first), self.values.step_bytes(e, columns.vectors)
        start = zeros(e, spot.width * columns.vectors)
        found = self._mixed(spot, rows, weights, start, columns.vectors)
        scales = [e.splat(e.load("float", e.at(sums, "float", r)), lanes) for r in range(spot.width)]
        done = [e.fmul(value, scales[i // columns.vectors]) for i, value in enumerate(found)]
        self.job.epilogue.emit(e, spot, columns, done)

    def _mixed(
        self,
        spot: Spot,
        rows: Sequence[Ssa | tuple[Ssa, int]],
        weights: tuple[Ssa, int],
        start: Sequence[Ssa],
        vectors: int,
    ) -> tuple[Ssa, ...]:
        seen = self._seen(spot)
        return accumulate(self.e, Taps(1, 0, 1, 0, seen), rows, weights, start, vectors)


def _score_bytes(keys: Dim, panel_width: int) -> Dim:
    """From one row of scores to the next: whole panels."""
    return ceildiv(keys, panel_width) * (panel_width * 4)


def _softmax_function(e: Emitter, keys: Dim, panel_width: int) -> Emitter:
    """Softmax of ``lo`` rows of ``hi`` scores, in a function of its own: its constants would crowd the tiles."""
    inner = e.inner()
    scores, sums = inner.temp(0), inner.temp(1)
    row_bytes = inner.dim(_score_bytes(keys, panel_width))
    inner.loop(0, inner.lo, 1, lambda r: _softmax(inner, r, inner.offset(scores, inner.mul(r, row_bytes)), sums))
    return inner


def _softmax(e: Emitter, row: Index, at: Ssa, sums: Ssa) -> None:
    """One row of scores: subtract the largest, exponentials in place, and one over their sum."""
    seen, lanes = e.hi, e.lanes_for("float")
    type = vector("float", lanes)
    lowest = literal(type, -inf)

    def take(i: Index) -> Ssa:
        value, left = e.load(type, e.at(at, "float", i), e.target.vector_bytes), e.sub(seen, i)
        return e.select(e.first_lanes(left, lanes), value, lowest)

    (largest,) = e.loop(0, seen, lanes, lambda i, m: (e.fmax(take(i), m),), (lowest,))
    top = e.reduce(e.fmax, largest)
    top = e.select(e.fcmp("oeq", top, literal("float", -inf)), literal("float", 0.0), top)
    shift = e.splat(top, lanes)

    def raise_power(i: Index, total: Ssa) -> Sequence[Ssa]:
        power = exp(e, e.fsub(take(i), shift))
        e.store(power, e.at(at, "float", i), e.target.vector_bytes)
        return (e.fadd(total, power),)

    (total,) = e.loop(0, seen, lanes, raise_power, (literal(type, 0.0),))
    whole = e.reduce(e.fadd, total)
    whole = e.select(e.fcmp("oeq", whole, literal("float", 0.0)), literal("float", 1.0), whole)
    e.store(e.fdiv(literal("float", 1.0), whole), e.at(sums, "float", row))


def _near(e: Emitter, at: Ssa, distance: Index) -> Ssa | tuple[Ssa, int]:
    return (at, distance) if isinstance(distance, int) else e.offset(at, distance)


class TiledAttention(Kernel):
    """Scores of a few rows live in scratch only; keys and values are packed once per block of rows."""

    op: ClassVar[type[Op]] = Attention

    def refuses(self, call: KernelCall) -> str:
        found = _Plan.of(call)
        return found if isinstance(found, str) else ""

    def tactics(self, call: KernelCall) -> Sequence[TileTactic]:
        return (_planned(call).tactic(),)

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        assert isinstance(tactic, TileTactic)
        return _planned(call).emit(tactic, symbol)


class FusedTiledAttention(TiledAttention):
    """The same for attention with transposes around it or elementwise ops behind it."""

    op: ClassVar[type[Op]] = Fused


def _planned(call: KernelCall) -> _Plan:
    found = _Plan.of(call)
    assert isinstance(found, _Plan)
    return found
