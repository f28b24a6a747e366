"""Depthwise convolution of NHWC images: each channel with its own small kernel, vectorised over channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusee.base.types import Array
from fusee.ir.graph import Op
from fusee.kernels.cpu.conv import ConvShape, conv_shape
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.epilogue import SPILL_BYTES, Epilogue, attach, group_problem, pixel_steps, tensors_of
from fusee.kernels.cpu.padding import SLACK_BYTES, Image
from fusee.kernels.cpu.space import separate_axes
from fusee.kernels.cpu.ssa import Index, Ssa, vector, zero
from fusee.kernels.cpu.windows import Geometry, Sweep, Tile
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic
from fusee.ops.fused import Fused
from fusee.ops.linear import Conv

_UNIT_STEPS = 8000  # multiply-adds of whole vectors that make a unit worth handing out
_MOST_PIXELS = 20  # of a tile: more only make the code longer


@dataclass(frozen=True)
class WindowTactic(Tactic):
    """How windows are cut up."""

    pixels: int  # of a tile
    rows: int  # output rows of a unit


class DepthwiseConv(Kernel):
    """One filter per channel; tiles of neighbouring pixels reuse each loaded input vector."""

    op: ClassVar[type[Op]] = Conv

    def refuses(self, call: KernelCall) -> str:
        found = conv_shape(call)
        if isinstance(found, str):
            return found
        channels = found.group.inputs[0].operand.type.shape[-1]
        if found.weights.shape[:2] != (channels, 1) or found.conv.group != channels:
            return f"weights {found.weights.shape} in {found.conv.group} groups are not one filter per channel"
        if found.plane != 1:
            return "the channels of the image are planes"
        return group_problem(found.group)

    def tactics(self, call: KernelCall) -> Sequence[WindowTactic]:
        found = _shape(call)
        most = call.target.vector_registers - 2 - found.kernel[1]
        _, h, w, _ = found.group.shape
        pixels = max(1, min(most, _MOST_PIXELS))
        return (WindowTactic(pixels, rows_of_unit(call, found.kernel, h, w)),)

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        assert isinstance(tactic, WindowTactic)
        found, e = _shape(call), Emitter(symbol, call.target)
        sweep, epilogue, constants = _sweep(e, call, found, tactic)
        bias = found.bias(e, constants)
        weights = e.constant(0)

        def visit(tile: Tile) -> None:
            start = _start(e, bias, tile)
            body = _multiply(e, tile, weights, found.kernel)
            epilogue.emit(e, tile.spot, tile.columns, tile.over_rows(body, start))

        sweep.emit(e, e.offset(e.scratch, SPILL_BYTES), visit)
        buffer = 0 if sweep.is_static else sweep.padded_width * (sweep.image.channels * 4 * sweep.padded_rows)
        launch = e.launch(sweep.units, SPILL_BYTES + buffer + SLACK_BYTES)
        return Code(e.text(), (launch,), frozenset(e.declarations), tuple(constants))


class FusedDepthwiseConv(DepthwiseConv):
    """The same for a convolution with elementwise ops behind it."""

    op: ClassVar[type[Op]] = Fused


def rows_of_unit(call: KernelCall, kernel: tuple[int, int], h: object, w: object) -> int:
    """Output rows that make a unit worth handing out, yet leave several units."""
    channels = call.results[0].type.shape[-1]
    if not isinstance(h, int) or not isinstance(w, int) or not isinstance(channels, int):
        return 4
    steps = w * -(-channels * 4 // call.target.vector_bytes) * kernel[0] * kernel[1]
    return max(1, min(-(-_UNIT_STEPS // steps), -(-h // 2)))


def _shape(call: KernelCall) -> ConvShape:
    found = conv_shape(call)
    assert isinstance(found, ConvShape)
    return found


def _sweep(e: Emitter, call: KernelCall, found: ConvShape, tactic: WindowTactic) -> tuple[Sweep, Epilogue, list[Array]]:
    rank = len(found.group.shape)
    n, h, w, channels = found.group.shape
    assert isinstance(channels, int)
    rows = [pixel_steps(t, rank) for t in tensors_of(found.group)]
    steps = separate_axes((n, h, w), rows).steps
    constants = [pack_filters(found.weights, e.lanes_for("float"))]
    image = Image(e.operand(found.source), *found.image, channels, found.strides)
    top, left, *_ = found.conv.pads
    geometry = Geometry(found.kernel, _pair(found.conv.strides), _pair(found.conv.dilations), top, left)
    sweep = Sweep(geometry, image, (n, h, w), tactic.pixels, tactic.rows, 0.0)
    return sweep, attach(e, found.group, steps, constants), constants


def _pair(numbers: Sequence[int]) -> tuple[int, int]:
    a, b = numbers
    return a, b


def pack_filters(weights: Array, lanes: int) -> Array:
    """[C, 1, KH, KW] -> [C / lanes, KH, KW, lanes], zeros behind the last channel."""
    channels, _, kh, kw = weights.shape
    padded = np.pad(weights.reshape(channels, kh * kw), ((0, -channels % lanes), (0, 0)))
    return np.ascontiguousarray(padded.reshape(-1, lanes, kh, kw).transpose(0, 2, 3, 1), np.float32)


def _start(e: Emitter, bias: Ssa | None, tile: Tile) -> tuple[Ssa, ...]:
    """The accumulators to begin with: the bias, or zero."""
    type, count = vector("float", e.lanes_for("float")), tile.spot.width
    if bias is None:
        return (zero(type),) * count
    return (e.load(type, e.at(bias, "float", tile.columns.first), e.target.vector_bytes),) * count


def _multiply(e: Emitter, tile: Tile, weights: Ssa, kernel: tuple[int, int]) -> Callable[..., Sequence[Ssa]]:
    """One kernel row: each input vector times the taps of the windows it falls into."""
    width, type = e.target.vector_bytes, vector("float", e.lanes_for("float"))
    kh, kw = kernel
    filters = e.offset(weights, e.mul(tile.columns.first, kh * kw * 4))

    def row(k: Index, load: Callable[[int], Ssa], *state: Ssa) -> Sequence[Ssa]:
        sums, here = list(state), e.offset(filters, e.mul(k, kw * width))
        taps = [e.load(type, e.offset(here, t * width), width) for t in range(kw)]
        for column, uses in tile.taps.items():
            x = load(column)
            for p, t in uses:
                sums[p] = e.fma(x, taps[t], sums[p])
        return sums

    return row
