"""Grouped convolution of NHWC images: each group a contraction of its own; small groups share vectors.

Groups of fewer outputs than a vector has lanes are joined into one whose weights are zero between groups: the lanes
would be idle otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from fusee.base.types import Array
from fusee.ir.graph import Op
from fusee.kernels.cpu.contraction import Blocks, Contraction, TileTactic, emit_unit
from fusee.kernels.cpu.conv import ConvPlan, Reading, conv_shape
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.epilogue import attach, group_problem
from fusee.kernels.cpu.panels import PackedWeights, pack_panels
from fusee.kernels.cpu.ssa import Index, Ssa
from fusee.kernels.cpu.tactics import Work, tile_cost_us, tile_tactics
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic
from fusee.ops.fused import Fused
from fusee.ops.linear import Conv


@dataclass(frozen=True, eq=False)
class _Groups:
    """The groups of a convolution, joined so that each fills vectors."""

    plan: ConvPlan
    joined: int  # groups that are computed as one
    lanes: int

    @staticmethod
    def of(call: KernelCall) -> _Groups:
        plan = ConvPlan.of(call)
        lanes, group = call.target.vector_bytes // 4, plan.shape.conv.group
        outputs = plan.shape.weights.shape[0] // group
        enough = [s for s in range(1, group + 1) if group % s == 0 and s * outputs >= lanes]
        return _Groups(plan, enough[0] if enough else group, lanes)

    @property
    def count(self) -> int:
        return self.plan.shape.conv.group // self.joined

    @property
    def inputs(self) -> int:
        """Input channels of a joined group."""
        return self.plan.shape.weights.shape[1] * self.joined

    @property
    def outputs(self) -> int:
        return self.plan.shape.weights.shape[0] // self.count

    @property
    def work(self) -> Work:
        kh, kw = self.plan.shape.kernel
        whole = self.plan.work
        return replace(
            whole,
            channels=self.outputs,
            length=kh * kw * self.inputs,
            pixel_bytes=whole.pixel_bytes * self.joined,
        )

    def matrices(self) -> list[Array]:
        """Of each joined group: [KH * KW * inputs, outputs], zero where input and output belong to different groups."""
        weights = self.plan.shape.weights
        o, c, kh, kw = weights.shape
        per_group = o // self.plan.shape.conv.group
        apart = weights.reshape(self.count, self.joined, per_group, c, kh, kw)
        found = np.zeros((self.count, kh, kw, self.joined, c, self.joined, per_group), np.float32)
        for s in range(self.joined):
            found[:, :, :, s, :, s, :] = apart[:, s].transpose(0, 3, 4, 2, 1)
        return list(found.reshape(self.count, kh * kw * self.inputs, self.outputs))

    def emit(self, tactic: TileTactic, symbol: str) -> Code:
        plan, e = self.plan, Emitter(symbol, self.plan.call.target)
        blocks = Blocks(plan.space.sizes, self.outputs, self.lanes, tactic)
        packed = [pack_panels(m, blocks.panel_width, self.lanes) for m in self.matrices()]
        constants: list[Array] = [np.concatenate(packed)]
        bias = self._bias(e, constants)
        epilogue = attach(e, plan.shape.group, plan.space.steps[1:], constants)
        weights, padded = e.constant(0), -(-self.outputs // self.lanes) * self.lanes
        reading = Reading(e, plan.shape, plan.space.steps[0], e.operand(plan.shape.source), self.inputs)
        scratch = reading.feed(blocks)[2]

        def unit(index: Index) -> None:
            group, inner = e.div(index, e.dim(blocks.units)), e.rem(index, e.dim(blocks.units))
            image = e.at(reading.start, "float", e.mul(group, self.inputs))
            feed, taps, _ = replace(reading, start=image).feed(blocks)
            at = PackedWeights(e.offset(weights, e.mul(group, packed[0].nbytes)), self.work.length * 4)
            own = None if bias is None else e.at(bias, "float", e.mul(group, padded))
            shifted = epilogue.from_channel(e, e.mul(group, self.outputs))
            emit_unit(e, Contraction(blocks, taps, feed, at, own, shifted), inner)

        e.loop(e.lo, e.hi, 1, unit)
        launch = e.launch(blocks.units * self.count, scratch)
        return Code(e.text(), (launch,), frozenset(e.declarations), tuple(constants))

    def _bias(self, e: Emitter, constants: list[Array]) -> Ssa | None:
        """The address of the biases, those of each joined group padded to whole vectors; None when there are none."""
        given = self.plan.shape.group.inputs[2:]
        if not given or given[0].value is None:
            return None
        rows = given[0].value.reshape(self.count, self.outputs)
        constants.append(np.pad(rows, ((0, 0), (0, -self.outputs % self.lanes))))
        return e.constant(len(constants) - 1)


class GroupedConv(Kernel):
    """Register tiles of output pixels times the channels of a group."""

    op: ClassVar[type[Op]] = Conv

    def refuses(self, call: KernelCall) -> str:
        found = conv_shape(call)
        if isinstance(found, str):
            return found
        if found.conv.group == 1 or found.plane != 1:
            return "the convolution has one group, or the channels of the image are planes"
        return group_problem(found.group)

    def tactics(self, call: KernelCall) -> Sequence[TileTactic]:
        return tile_tactics(_Groups.of(call).work, call.target)

    def cost_us(self, call: KernelCall, tactic: Tactic) -> float | None:
        assert isinstance(tactic, TileTactic)
        groups = _Groups.of(call)
        return groups.count * tile_cost_us(groups.work, tactic, call.target)

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        assert isinstance(tactic, TileTactic)
        return _Groups.of(call).emit(tactic, symbol)


class FusedGroupedConv(GroupedConv):
    """The same for a convolution with elementwise ops behind it."""

    op: ClassVar[type[Op]] = Fused
