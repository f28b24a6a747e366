"""Convolution of NHWC images as a contraction: 1x1 reads the image itself, others padded copies of a few rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fusee.base.dims import Dim
from fusee.base.types import F32, Array
from fusee.ir.graph import Op
from fusee.kernels.cpu.anchor import Anchored, split_at
from fusee.kernels.cpu.contraction import (
    Blocks,
    Contraction,
    DirectFeed,
    Feed,
    TileTactic,
    Window,
    emit_contraction,
)
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.epilogue import SPILL_BYTES, attach, group_problem, pixel_steps, tensors_of
from fusee.kernels.cpu.padding import MOST_PLANES, SLACK_BYTES, Image, PaddedRows
from fusee.kernels.cpu.panels import PackedWeights, pack_panels, pad_vector
from fusee.kernels.cpu.space import Space, merge_axes, separate_axes, strides_of
from fusee.kernels.cpu.ssa import Ssa
from fusee.kernels.cpu.tactics import Work, tile_cost_us, tile_tactics
from fusee.kernels.cpu.tile import Taps
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic
from fusee.ops.fused import Fused
from fusee.ops.linear import Conv


@dataclass(frozen=True, eq=False)
class ConvShape:
    """A two-dimensional NHWC convolution of one group, with everything its kernel must know."""

    group: Anchored
    conv: Conv
    weights: Array  # [O, C, KH, KW]
    strides: tuple[Dim, Dim, int]  # of x, in elements: n, h, w
    plane: Dim  # from a channel of x to the next: 1, or the planes of an image of few channels

    @property
    def kernel(self) -> tuple[int, int]:
        return self.weights.shape[2], self.weights.shape[3]

    @property
    def channels(self) -> int:
        return self.weights.shape[1]

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns that one window spans."""
        (kh, kw), (dh, dw) = self.kernel, self.conv.dilations
        return (kh - 1) * dh + 1, (kw - 1) * dw + 1

    @property
    def is_copied(self) -> bool:
        """Whether rows of x are copied before they are read: to add padding, or to bring channels together."""
        return any(self.conv.pads) or self.plane != 1

    @property
    def image(self) -> tuple[Dim, Dim]:
        """Height and width of x."""
        _, h, w, _ = self.group.inputs[0].operand.type.shape
        return h, w

    @property
    def source(self) -> int:
        """Which operand of the call x is."""
        index = self.group.inputs[0].index
        assert index is not None
        return index

    def bias(self, e: Emitter, constants: list[Array]) -> Ssa | None:
        """The address of the bias, padded to whole vectors and added to ``constants``; None when there is none."""
        given = self.group.inputs[2:]
        if not given or given[0].value is None:
            return None
        constants.append(pad_vector(given[0].value, e.lanes_for("float")))
        return e.constant(len(constants) - 1)


def conv_shape(call: KernelCall) -> ConvShape | str:
    """The convolution of a call, or why these kernels do not compute it."""
    group = split_at(call, Conv)
    if isinstance(group, str):
        return group
    conv, x, weights = group.op, group.inputs[0].operand, group.inputs[1].value
    assert isinstance(conv, Conv)
    if conv.layout != "NHWC" or x.type.rank != 4:
        return f"{x.type} in layout {conv.layout} is not a batch of NHWC images"
    if group.dtype is not F32 or x.type.dtype is not F32:
        return f"{x.type} to {group.dtype} is not f32"
    if weights is None:
        return "the weights are not known at build time"
    if group.inputs[0].index is None:
        return "the image is a constant of the group"
    n, h, w, c = strides_of(x)
    if not isinstance(w, int) or (c != 1 and (w != 1 or weights.shape[1] > MOST_PLANES)):
        return f"the channels of {x.type} do not lie side by side"
    return ConvShape(group, conv, weights, (n, h, w), c)


class TiledConv(Kernel):
    """Register tiles of output pixels times channels; weights packed at build; any kernel, stride and padding."""

    op: ClassVar[type[Op]] = Conv

    def refuses(self, call: KernelCall) -> str:
        found = conv_shape(call)
        if isinstance(found, str):
            return found
        if found.conv.group != 1:
            return f"the convolution has {found.conv.group} groups"
        return group_problem(found.group)

    def tactics(self, call: KernelCall) -> Sequence[TileTactic]:
        return tile_tactics(ConvPlan.of(call).work, call.target)

    def cost_us(self, call: KernelCall, tactic: Tactic) -> float | None:
        assert isinstance(tactic, TileTactic)
        return tile_cost_us(ConvPlan.of(call).work, tactic, call.target)

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        assert isinstance(tactic, TileTactic)
        return ConvPlan.of(call).emit(tactic, symbol)


class FusedConv(TiledConv):
    """The same for a convolution with elementwise ops behind it."""

    op: ClassVar[type[Op]] = Fused


def direct_cost_us(call: KernelCall) -> float:
    """What the best tiles are estimated to take on one core, for kernels that compute the same in another way."""
    work = ConvPlan.of(call).work
    return tile_cost_us(work, tile_tactics(work, call.target)[0], call.target)


@dataclass(frozen=True, eq=False)
class ConvPlan:
    """A call taken apart: the pixels of the result, and how x and the group's other tensors lie over them."""

    call: KernelCall
    shape: ConvShape
    space: Space

    @staticmethod
    def of(call: KernelCall) -> ConvPlan:
        found = conv_shape(call)
        assert isinstance(found, ConvShape)
        rank = len(found.group.shape)
        n, h, w = found.strides
        steps = [(n, h * found.conv.strides[0], w * found.conv.strides[1])]
        rows = [*steps, *[pixel_steps(t, rank) for t in tensors_of(found.group)]]
        sizes = found.group.shape[:-1]
        merged = None if found.is_copied else merge_axes(sizes, rows)
        return ConvPlan(call, found, merged or separate_axes(sizes, rows))

    @property
    def work(self) -> Work:
        shape = self.shape
        (kh, kw), (sh, sw), c = shape.kernel, shape.conv.strides, shape.channels
        right = sw * (c if shape.is_copied else shape.strides[2]) * 4
        return Work(
            self.space.sizes,
            shape.weights.shape[0],
            kh * kw * c,
            right,
            min(sh, kh) * min(sw, kw) * c * 4,
            shape.is_copied,
        )

    def emit(self, tactic: TileTactic, symbol: str) -> Code:
        e = Emitter(symbol, self.call.target)
        lanes = e.lanes_for("float")
        blocks = Blocks(self.space.sizes, self.work.channels, lanes, tactic)
        matrix = self.shape.weights.transpose(2, 3, 1, 0).reshape(-1, self.work.channels)
        constants = [pack_panels(matrix, blocks.panel_width, lanes)]
        weights = PackedWeights(e.constant(0), matrix.shape[0] * 4)
        bias = self.shape.bias(e, constants)
        reading = Reading(e, self.shape, self.space.steps[0], e.operand(self.shape.source), self.shape.channels)
        feed, taps, scratch = reading.feed(blocks)
        epilogue = attach(e, self.shape.group, self.space.steps[1:], constants)
        emit_contraction(e, Contraction(blocks, taps, feed, weights, bias, epilogue))
        launch = e.launch(blocks.units, scratch)
        return Code(e.text(), (launch,), frozenset(e.declarations), tuple(constants))


@dataclass(frozen=True, eq=False)
class Reading:
    """How the pixels of a convolution reach its tiles: ``channels`` of the image's, from ``start`` on."""

    e: Emitter
    shape: ConvShape
    steps: tuple[Dim, Dim, Dim]  # of the image along the result's pixels, in elements
    start: Ssa
    channels: int

    def feed(self, blocks: Blocks) -> tuple[Feed, Taps, Dim]:
        """The feed, what a pixel reads of it, and the scratch it takes."""
        return self._padded(blocks) if self.shape.is_copied else self._direct()

    def _direct(self) -> tuple[Feed, Taps, Dim]:
        """Read the image where it lies."""
        n, h, w = self.steps
        _, down, right = self.shape.strides
        return DirectFeed(self.start, n * 4, h * 4, w * 4), self._taps(down, right), SPILL_BYTES

    def _padded(self, blocks: Blocks) -> tuple[Feed, Taps, Dim]:
        """Copy what a unit reads into scratch, with zeros around the image."""
        e, shape = self.e, self.shape
        image = Image(self.start, *shape.image, self.channels, shape.strides, shape.plane)
        (sh, sw), (reach_h, reach_w) = shape.conv.strides, shape.reach
        top, left, *_ = shape.conv.pads
        columns = (blocks.pixels_per_row - 1) * sw + reach_w
        rows = PaddedRows(image, e.offset(e.scratch, SPILL_BYTES), columns, top, left)
        feed = PaddedFeed(rows, (sh, sw), reach_h)
        most_rows = (blocks.rows_per_unit - 1) * sh + reach_h
        scratch = SPILL_BYTES + rows.row_bytes * most_rows + SLACK_BYTES
        return feed, self._taps(columns * self.channels, self.channels), scratch

    def _taps(self, down: Dim, right: int) -> Taps:
        """What a pixel reads where rows and columns lie that many elements apart."""
        (kh, kw), (dh, dw), c = self.shape.kernel, self.shape.conv.dilations, self.channels
        if right * dw == c or kw == 1:
            return Taps(kh, down * (dh * 4), 1, 0, kw * c)
        return Taps(kh, down * (dh * 4), kw, right * dw * 4, c)


@dataclass(frozen=True, eq=False)
class PaddedFeed:
    """Pixels read from padded copies of the rows that a unit needs."""

    rows: PaddedRows
    strides: tuple[int, int]
    reach: int  # rows that one window spans

    @property
    def down_bytes(self) -> Dim:
        return self.rows.row_bytes * self.strides[0]

    @property
    def right_bytes(self) -> Dim:
        return self.rows.image.channels * (4 * self.strides[1])

    def open(self, e: Emitter, window: Window) -> Ssa:
        down, right = self.strides
        between = e.mul(e.sub(e.sub(window.bottom, window.top), 1), down)
        self.rows.copy(e, window.n, e.mul(window.top, down), e.add(between, self.reach), e.mul(window.left, right))
        return e.offset(self.rows.buffer, e.sub(0, e.mul(window.left, e.dim(self.right_bytes))))
