"""Matrix product of two tensors known only at run time, batch by batch: the right side is packed into scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fusee.base.dims import Dim, ceildiv
from fusee.base.types import F32
from fusee.ir.graph import Op
from fusee.kernels.cpu.anchor import Anchored, Source, split_at
from fusee.kernels.cpu.contraction import Blocks, Contraction, DirectFeed, Tiles, TileTactic
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.epilogue import SPILL_BYTES, Epilogue, Spot, attach, group_problem, pixel_steps, tensors_of
from fusee.kernels.cpu.panels import Matrix, ScratchPanels, panel_bytes
from fusee.kernels.cpu.space import Space, broadcast_steps, merge_axes, strides_of
from fusee.kernels.cpu.ssa import Index
from fusee.kernels.cpu.tile import Taps, most_pixels
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic
from fusee.ops.fused import Fused
from fusee.ops.linear import MatMul

_ROWS = 128  # rows that share one packing of the right side
_COLUMN_BYTES = 256 << 10  # of the right side packed at a time


@dataclass(frozen=True, eq=False)
class _Plan:
    """A call taken apart. The space's axes: two of the batch, then the rows; its tensors: a, b, leaves, results."""

    call: KernelCall
    group: Anchored
    space: Space
    left: tuple[Dim, Dim]  # strides of a: rows, K
    right: tuple[Dim, Dim]  # strides of b: K, columns
    length: Dim

    @staticmethod
    def of(call: KernelCall) -> _Plan | str:
        """The product of a call, or why this kernel does not compute it."""
        group = split_at(call, MatMul)
        if isinstance(group, str):
            return group
        product, (a, b) = group.op, (s.operand for s in group.inputs)
        assert isinstance(product, MatMul)
        if group.dtype is not F32 or a.type.dtype is not F32:
            return f"{a.type} to {group.dtype} is not f32"
        if any(source.index is None for source in group.inputs):
            return "an operand is a constant of the group"
        rank, left, right = len(group.shape), strides_of(a), strides_of(b)
        lay = [broadcast_steps(t.type.shape, s, rank)[:-2] for t, s in ((a, left), (b, right))]
        lay += [pixel_steps(t, rank)[:-1] for t in tensors_of(group)]
        space = merge_axes(group.shape[:-2], lay)
        if space is None or space.sizes[0] != 1:
            return f"the batch of {group.shape} does not merge into two axes"
        rows = [*(0, 0), *[pixel_steps(t, rank)[-1] for t in tensors_of(group)]]
        steps = tuple((h, w, r) for (_, h, w), r in zip(space.steps, rows, strict=True))
        _, outer, inner = space.sizes
        full = Space((outer, inner, group.shape[-2]), steps)
        down = left[-2:][::-1] if product.trans_a else left[-2:]
        across = right[-2:][::-1] if product.trans_b else right[-2:]
        if 1 not in across:
            return f"neither axis of the right side {b.type} is contiguous"
        length = a.type.shape[-2] if product.trans_a else a.type.shape[-1]
        return _Plan(call, group, full, (down[0], down[1]), (across[0], across[1]), length)

    @property
    def columns(self) -> Dim:
        return self.group.shape[-1]

    def tactic(self) -> TileTactic:
        """Rows with a distance known only at run time need a register each: fewer of them, more columns."""
        target = self.call.target
        vectors = 2 if isinstance(self.left[0], int) else (4 if target.vector_registers == 32 else 2)
        if isinstance(self.columns, int):
            vectors = min(vectors, -(-self.columns * 4 // target.vector_bytes))
        most = most_pixels(vectors, target)
        pixels = most if isinstance(self.left[0], int) else min(most, 6)
        width = vectors * target.vector_bytes
        length = self.length if isinstance(self.length, int) else 128
        panels = max(1, _COLUMN_BYTES // (width * max(1, length)))
        return TileTactic(pixels, vectors, max(1, _ROWS // pixels), panels, panels_outer=False, units_by_panel=False)

    def emit(self, tactic: TileTactic, symbol: str) -> Code:
        e = Emitter(symbol, self.call.target)
        job = _Job.of(e, self, tactic)
        e.loop(e.lo, e.hi, 1, job.unit)
        blocks = job.blocks
        batch = self.space.sizes[0] * self.space.sizes[1]
        packed = panel_bytes(self.length, blocks.panel_width, min_panels(blocks))
        launch = e.launch(batch * blocks.units, SPILL_BYTES + packed)
        return Code(e.text(), (launch,), frozenset(e.declarations), ())


def min_panels(blocks: Blocks) -> Dim:
    """Panels that a unit packs at most."""
    whole = ceildiv(blocks.channels, blocks.panel_width)
    return min(whole, blocks.tactic.panels) if isinstance(whole, int) else blocks.tactic.panels


@dataclass(frozen=True, eq=False)
class _Job:
    """The emission of one call: units are batch by rows by columns, columns running fastest."""

    e: Emitter
    plan: _Plan
    blocks: Blocks
    epilogue: Epilogue

    @staticmethod
    def of(e: Emitter, plan: _Plan, tactic: TileTactic) -> _Job:
        blocks = Blocks((1, 1, plan.space.sizes[2]), plan.columns, e.lanes_for("float"), tactic)
        epilogue = attach(e, plan.group, plan.space.steps[2:], [])
        return _Job(e, plan, blocks, epilogue)

    def unit(self, unit: Index) -> None:
        e, blocks, plan = self.e, self.blocks, self.plan
        inner, columns = e.div(unit, e.dim(blocks.panel_blocks)), e.rem(unit, e.dim(blocks.panel_blocks))
        batch, rows = e.div(inner, e.dim(blocks.pixel_blocks)), e.rem(inner, e.dim(blocks.pixel_blocks))
        n, h = e.div(batch, e.dim(plan.space.sizes[1])), e.rem(batch, e.dim(plan.space.sizes[1]))
        width = blocks.panel_width * blocks.tactic.panels
        first = e.mul(columns, width)
        last = e.min(e.add(first, width), e.dim(plan.columns))
        panels = self._panels(n, h, first)
        panels.pack(e, last)
        a = e.at(e.operand(_index(plan.group.inputs[0])), "float", self._at(0, n, h))
        down, along = (step * 4 for step in plan.left)
        taps = Taps(1, 0, 1, 0, plan.length) if along == 4 else Taps(1, 0, plan.length, along, 1)
        job = Contraction(blocks, taps, DirectFeed(a, 0, 0, down), panels, None, self.epilogue)
        tiles, ends = Tiles(e, job), blocks.stretch(e, rows)
        tiles.emit(lambda visit: tiles.row(a, Spot(n, h, 0, 1, 0), ends, visit), first, last)

    def _panels(self, n: Index, h: Index, first: Index) -> ScratchPanels:
        e, plan = self.e, self.plan
        start = e.at(e.operand(_index(plan.group.inputs[1])), "float", self._at(1, n, h))
        matrix = Matrix(start, plan.length, plan.columns, *plan.right)
        return ScratchPanels(matrix, e.offset(e.scratch, SPILL_BYTES), self.blocks.panel_width, first)

    def _at(self, tensor: int, n: Index, h: Index) -> Index:
        """Where a batch of a or b begins, in elements."""
        e = self.e
        outer, inner, _ = self.plan.space.steps[tensor]
        return e.add(e.mul(n, e.dim(outer)), e.mul(h, e.dim(inner)))


def _index(source: Source) -> int:
    assert source.index is not None
    return source.index


class BatchedMatMul(Kernel):
    """Register tiles of rows times columns; blocks of the right side are packed as they are needed."""

    op: ClassVar[type[Op]] = MatMul

    def refuses(self, call: KernelCall) -> str:
        found = _Plan.of(call)
        return found if isinstance(found, str) else group_problem(found.group)

    def tactics(self, call: KernelCall) -> Sequence[TileTactic]:
        return (_planned(call).tactic(),)

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        assert isinstance(tactic, TileTactic)
        return _planned(call).emit(tactic, symbol)


class FusedBatchedMatMul(BatchedMatMul):
    """The same for a product with elementwise ops behind it."""

    op: ClassVar[type[Op]] = Fused


def _planned(call: KernelCall) -> _Plan:
    found = _Plan.of(call)
    assert isinstance(found, _Plan)
    return found
