"""Transposed convolution of one or two spatial axes: each result row gathered from the input rows that reach it.

Along a row the results fall into as many phases as the stride is wide; in one phase neighbours come from neighbouring
inputs, so lanes run along the input row. The phases of several output channels are summed in registers, then
interleaved and stored whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from fusee.base.dims import Dim, ceildiv, product
from fusee.ir.graph import Op
from fusee.kernels.cpu.coords import Coord, Lanes, load, splat_index, store
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.lane_types import compute_type
from fusee.kernels.cpu.ssa import Index, Ssa, lane_numbers, literal, vector
from fusee.kernels.cpu.transpose import interleaved
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic
from fusee.ops.conv_variants import ConvTranspose

LARGEST_STRIDE = 8


class PhasedConvTranspose(Kernel):
    """One work unit is one row of a block of output channels."""

    op: ClassVar[type[Op]] = ConvTranspose

    def refuses(self, call: KernelCall) -> str:
        assert isinstance(call.op, ConvTranspose)
        x, w = call.operands[0].type, call.operands[1].type
        if x.rank not in (3, 4):
            return f"the input is {x}; expected one or two spatial axes"
        if not x.dtype.is_float or x.dtype.itemsize_bytes < 2:
            return f"the input is {x}; expected f16, bf16, f32 or f64"
        if not w.is_static or call.op.strides[-1] > LARGEST_STRIDE:
            return (
                f"the stride along rows is {call.op.strides[-1]}; expected at most {LARGEST_STRIDE}, and sizes of {w}"
            )
        if not all(o.is_contiguous for o in (*call.operands, *call.results)):
            return "an operand or the result is not row-major"
        return ""

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        e = Emitter(symbol, call.target)
        writer = _Rows(e, call)
        e.loop(e.lo, e.hi, 1, writer.unit)
        return Code(e.text(), (e.launch(writer.units),), frozenset(e.declarations))


class _Rows:
    """Writes the rows of a call, seen with two spatial axes."""

    def __init__(self, e: Emitter, call: KernelCall) -> None:
        op = call.op
        assert isinstance(op, ConvTranspose)
        self._e, self._call, self._op = e, call, op
        rank = len(op.strides)
        lead = (1,) * (2 - rank)
        self._strides, self._dilations = lead + op.strides, lead + op.dilations
        self._before = (0,) * (2 - rank) + op.pads[:rank]
        self._image = lead + call.operands[0].type.shape[2:]
        self._result = lead + call.results[0].type.shape[2:]
        c, o, *kernel = call.operands[1].type.static_shape()
        self._kernel = lead + tuple(kernel)
        self._depth, self._group_channels = c // op.group, o
        self.dtype = call.operands[0].type.dtype
        self._lanes = call.target.vector_bytes // 4
        self._type = vector(compute_type(self.dtype), self._lanes)

    @property
    def _phases(self) -> int:
        return self._strides[1]

    @property
    def _block(self) -> int:
        """How many output channels share the input that is loaded."""
        room = max(1, self._call.target.vector_registers // 2 // self._phases)
        return max(d for d in range(1, room + 1) if self._group_channels % d == 0)

    @property
    def _blocks(self) -> int:
        return self._op.group * self._group_channels // self._block

    @property
    def units(self) -> Dim:
        return product((self._call.operands[0].type.shape[0], self._blocks, self._result[0]))

    def unit(self, unit: Ssa) -> None:
        e = self._e
        height, width = e.dim(self._result[0]), e.dim(self._result[1])
        row, rest = e.rem(unit, height), e.div(unit, height)
        block, n = e.rem(rest, self._blocks), e.div(rest, self._blocks)
        channel = e.mul(block, self._block)
        before = self._before[1]
        first = before // self._phases
        last = e.dim(ceildiv(self._result[1] + before, self._phases))

        def part(j: Ssa) -> None:
            sums = self._sums(n, channel, row, j)
            start = e.sub(e.mul(j, self._phases), before)
            for i in range(self._block):
                place = e.add(e.mul(n, self._op.group * self._group_channels), e.add(channel, i))
                at = e.add(e.mul(e.add(e.mul(place, height), row), width), start)
                self._store(sums[i :: self._block], at, start, width)

        e.loop(first, last, self._lanes, part)

    def _store(self, phases: Sequence[Ssa], at: Index, start: Index, width: Index) -> None:
        """Interleave the phases of one channel and store what lies inside of the row."""
        e = self._e
        for k in range(self._phases):
            value = interleaved(e, phases, k)
            columns = e.op(
                "add",
                splat_index(e, e.add(start, k * self._lanes), self._lanes),
                lane_numbers(vector("i32", self._lanes)),
            )
            mask = e.icmp("ult", columns, splat_index(e, width, self._lanes))
            place = Coord(e.add(at, k * self._lanes), 1)
            store(e, value, e.result(), self.dtype, place, Lanes(self._lanes, mask))

    def _sums(self, n: Index, channel: Index, row: Index, j: Ssa) -> Sequence[Ssa]:
        """All phases of a block of channels: [phase][channel]."""
        e = self._e
        sums: Sequence[Ssa] = [self._bias(e.add(channel, i)) for _ in range(self._phases) for i in range(self._block)]
        masks = self._masks(j)
        for kh in range(self._kernel[0]):
            reach = e.sub(e.add(row, self._before[0]), kh * self._dilations[0])
            y = e.div(reach, self._strides[0])
            hits = e.icmp("eq", e.i64(e.mul(y, self._strides[0])), e.i64(reach))
            hits = e.op("and", hits, e.icmp("ult", e.i64(y), e.i64(e.dim(self._image[0]))))
            hits = e.op("and", hits, e.icmp("sge", e.i64(reach), e.i64(0)))
            known = tuple(sums)
            take = partial(self._row, n, channel, kh, y, j, masks, known)
            sums = e.branch(hits, take, partial(tuple, known))
        return sums

    def _bias(self, channel: Index) -> Ssa:
        if len(self._call.operands) < 3:
            return literal(self._type, 0)
        return load(self._e, self._e.operand(2), self.dtype, Coord(channel), Lanes(self._lanes))

    def _masks(self, j: Ssa) -> list[Ssa]:
        """Per tap along the row, which of its inputs exist."""
        e = self._e
        numbers = lane_numbers(vector("i32", self._lanes))
        size = splat_index(e, e.dim(self._image[1]), self._lanes)
        starts = [e.sub(j, self._shift(kw)) for kw in range(self._kernel[1])]
        return [e.icmp("ult", e.op("add", splat_index(e, s, self._lanes), numbers), size) for s in starts]

    def _shift(self, kw: int) -> int:
        """How many inputs before its phase's own a tap reads."""
        return kw * self._dilations[1] // self._phases

    def _row(
        self, n: Index, channel: Index, kh: int, y: Index, j: Ssa, masks: list[Ssa], sums: Sequence[Ssa]
    ) -> Sequence[Ssa]:
        """Add one row of taps, summed over the group's input channels."""
        e = self._e
        group = e.div(channel, self._group_channels)
        local = e.sub(channel, e.mul(group, self._group_channels))
        height, width = (e.dim(d) for d in self._image)
        taps = self._kernel[0] * self._kernel[1]

        def step(c: Ssa, *carried: Ssa) -> Sequence[Ssa]:
            new = list(carried)
            source = e.add(e.mul(group, self._depth), c)
            plane = e.add(e.mul(n, self._op.group * self._depth), source)
            start = e.mul(e.add(e.mul(plane, height), y), width)
            weights = e.mul(e.add(e.mul(source, self._group_channels), local), taps)
            for kw in range(self._kernel[1]):
                at = Coord(e.add(start, e.sub(j, self._shift(kw))), 1)
                x = load(e, e.operand(0), self.dtype, at, Lanes(self._lanes, masks[kw]))
                phase = kw * self._dilations[1] % self._phases
                for i in range(self._block):
                    place = e.add(weights, i * taps + kh * self._kernel[1] + kw)
                    w = load(e, e.operand(1), self.dtype, Coord(place), Lanes(self._lanes))
                    new[phase * self._block + i] = e.fma(x, w, new[phase * self._block + i])
            return new

        return e.loop(0, self._depth, 1, step, sums)
