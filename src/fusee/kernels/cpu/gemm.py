"""Matrix product with a constant right side, packed at build: the rows of the left side are a contraction's pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusee.base.types import F32, Array
from fusee.ir.graph import Op
from fusee.kernels.cpu.anchor import Anchored, split_at
from fusee.kernels.cpu.contraction import (
    Blocks,
    Contraction,
    DirectFeed,
    TileTactic,
    emit_contraction,
)
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.epilogue import SPILL_BYTES, attach, group_problem, pixel_steps, tensors_of
from fusee.kernels.cpu.panels import PackedWeights, pack_panels
from fusee.kernels.cpu.space import Space, broadcast_steps, merge_axes, strides_of
from fusee.kernels.cpu.tactics import Work, tile_cost_us, tile_tactics
from fusee.kernels.cpu.tile import Taps
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic
from fusee.ops.fused import Fused
from fusee.ops.linear import MatMul


@dataclass(frozen=True, eq=False)
class _Plan:
    """A call taken apart: the rows of the result, and how the left side and the group's other tensors lie over them."""

    call: KernelCall
    group: Anchored
    matrix: Array  # [K, N]
    space: Space

    @staticmethod
    def of(call: KernelCall) -> _Plan | str:
        """The product of a call, or why this kernel does not compute it."""
        group = split_at(call, MatMul)
        if isinstance(group, str):
            return group
        matrix = _matrix(group)
        if isinstance(matrix, str):
            return matrix
        a, rank = group.inputs[0].operand, len(group.shape)
        rows = broadcast_steps(a.type.shape, strides_of(a), rank)
        steps = [rows[:-1], *[pixel_steps(t, rank) for t in tensors_of(group)]]
        space = merge_axes(group.shape[:-1], steps)
        if space is None:
            return f"the rows of {group.shape} do not merge into three axes"
        return _Plan(call, group, matrix, space)

    @property
    def work(self) -> Work:
        length, columns = self.matrix.shape
        right = self.space.steps[0][2]
        right_bytes = right * 4 if isinstance(right, int) else 0
        return Work(self.space.sizes, columns, length, right_bytes, length * 4, is_padded=False)

    def emit(self, tactic: TileTactic, symbol: str) -> Code:
        e = Emitter(symbol, self.call.target)
        lanes, (length, columns) = e.lanes_for("float"), self.matrix.shape
        blocks = Blocks(self.space.sizes, columns, lanes, tactic)
        constants = [pack_panels(self.matrix, blocks.panel_width, lanes)]
        weights = PackedWeights(e.constant(0), length * 4)
        left = self.group.inputs[0].index
        assert left is not None
        n, h, w = (step * 4 for step in self.space.steps[0])
        feed = DirectFeed(e.operand(left), n, h, w)
        epilogue = attach(e, self.group, self.space.steps[1:], constants)
        emit_contraction(e, Contraction(blocks, Taps(1, 0, 1, 0, length), feed, weights, None, epilogue))
        launch = e.launch(blocks.units, SPILL_BYTES)
        return Code(e.text(), (launch,), frozenset(e.declarations), tuple(constants))


def _matrix(group: Anchored) -> Array | str:
    """The right side as [K, N], or why the product is not one with a constant matrix."""
    product, (a, b) = group.op, group.inputs
    assert isinstance(product, MatMul)
    if group.dtype is not F32 or a.operand.type.dtype is not F32:
        return f"{a.operand.type} to {group.dtype} is not f32"
    if b.value is None or b.value.size != np.prod(b.value.shape[-2:]):
        return f"the right side {b.operand.type} is not one matrix known at build time"
    if product.trans_a or strides_of(a.operand)[-1] != 1:
        return f"the rows of the left side {a.operand.type} do not lie side by side"
    matrix = b.value.reshape(b.value.shape[-2:])
    return matrix.T if product.trans_b else matrix


class PackedMatMul(Kernel):
    """Register tiles of rows times columns; the right side packed at build."""

    op: ClassVar[type[Op]] = MatMul

    def refuses(self, call: KernelCall) -> str:
        found = _Plan.of(call)
        return found if isinstance(found, str) else group_problem(found.group)

    def tactics(self, call: KernelCall) -> Sequence[TileTactic]:
        return tile_tactics(_planned(call).work, call.target)

    def cost_us(self, call: KernelCall, tactic: Tactic) -> float | None:
        assert isinstance(tactic, TileTactic)
        return tile_cost_us(_planned(call).work, tactic, call.target)

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        assert isinstance(tactic, TileTactic)
        return _planned(call).emit(tactic, symbol)


class FusedPackedMatMul(PackedMatMul):
    """The same for a product with elementwise ops behind it."""

    op: ClassVar[type[Op]] = Fused


def _planned(call: KernelCall) -> _Plan:
    found = _Plan.of(call)
    assert isinstance(found, _Plan)
    return found
