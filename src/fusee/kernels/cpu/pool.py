"""Max and average pools of NHWC images, vectorised over channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar

from fusee.base.types import F32, I8, U8, DType
from fusee.ir.graph import Op
from fusee.kernels.cpu.anchor import Anchored, split_at
from fusee.kernels.cpu.depthwise import WindowTactic, rows_of_unit
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.epilogue import SPILL_BYTES, attach, group_problem, pixel_steps, tensors_of
from fusee.kernels.cpu.padding import SLACK_BYTES, Image
from fusee.kernels.cpu.space import separate_axes, strides_of
from fusee.kernels.cpu.ssa import Index, Ssa, literal, mangled, vector
from fusee.kernels.cpu.windows import Geometry, Sweep, Tile
from fusee.kernels.kernel import Code, Kernel, KernelCall, Operand, Tactic
from fusee.ops.fused import Fused
from fusee.ops.pool import Pool

_MOST_PIXELS = 12


@dataclass(frozen=True, eq=False)
class _Shape:
    """A pool of NHWC images, with everything its kernel must know."""

    group: Anchored
    pool: Pool
    image: Operand
    right: int  # from a pixel to the next, in elements

    @staticmethod
    def of(call: KernelCall) -> _Shape | str:
        """The pool of a call, or why this kernel does not compute it."""
        group = split_at(call, Pool)
        if isinstance(group, str):
            return group
        pool, (source, *_) = group.op, group.inputs
        assert isinstance(pool, Pool)
        image = source.operand
        if pool.layout != "NHWC" or image.type.rank != 4:
            return f"{image.type} in layout {pool.layout} is not a batch of NHWC images"
        if image.type.dtype not in (F32, U8, I8) or (image.type.dtype is not F32 and pool.kind != "max"):
            return f"{image.type} is not f32, nor the maximum of bytes"
        if source.index is None:
            return "the image is a constant of the group"
        if problem := _kind_problem(pool, image):
            return problem
        _, _, w, c = strides_of(image)
        if c != 1 or not isinstance(w, int) or not isinstance(image.type.shape[-1], int):
            return f"the channels of {image.type} do not lie side by side"
        return _Shape(group, pool, image, w)


def _kind_problem(pool: Pool, image: Operand) -> str:
    if pool.kind == "max":
        return ""
    if pool.kind != "average":
        return f"a pool of kind {pool.kind} is not computed here"
    padded = any(pool.pads) or pool.ceil_mode
    if padded and not isinstance(image.type.shape[2], int):
        return "windows that hang over the edge of an image of unknown width count an unknown number of elements"
    return "windows that hang over count only part of the padding" if pool.ceil_mode and pool.count_include_pad else ""


class WindowPool(Kernel):
    """Tiles of neighbouring windows reuse each loaded input vector."""

    op: ClassVar[type[Op]] = Pool

    def refuses(self, call: KernelCall) -> str:
        found = _Shape.of(call)
        if isinstance(found, str):
            return found
        edges_known = _sweep(Emitter("", call.target), found, WindowTactic(1, 1)).is_static
        if not edges_known and (_counts_taps(found.pool) or found.image.type.dtype is not F32):
            return "the windows at the edges are too many to be written out"
        return group_problem(found.group)

    def tactics(self, call: KernelCall) -> Sequence[WindowTactic]:
        found = _shape(call)
        _, h, w, _ = found.group.shape
        pixels = min(_MOST_PIXELS, call.target.vector_registers - 4)
        kh, kw = found.pool.kernel
        return (WindowTactic(pixels, rows_of_unit(call, (kh, kw), h, w)),)

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        assert isinstance(tactic, WindowTactic)
        found, e = _shape(call), Emitter(symbol, call.target)
        sweep, group = _sweep(e, found, tactic), found.group
        rank, sizes = len(group.shape), group.shape[:-1]
        rows = [pixel_steps(t, rank) for t in tensors_of(group)]
        constants = []
        epilogue = attach(e, group, separate_axes(sizes, rows).steps, constants)

        def visit(tile: Tile) -> None:
            values = _maximum(e, tile, sweep.dtype) if found.pool.kind == "max" else _average(e, tile, found.pool)
            epilogue.emit(e, tile.spot, tile.columns, values)

        sweep.emit(e, e.offset(e.scratch, SPILL_BYTES), visit)
        buffer = 0 if sweep.is_static else sweep.padded_width * (sweep.image.channels * 4 * sweep.padded_rows)
        launch = e.launch(sweep.units, SPILL_BYTES + buffer + SLACK_BYTES)
        return Code(e.text(), (launch,), frozenset(e.declarations), tuple(constants))


class FusedWindowPool(WindowPool):
    """The same for a pool with elementwise ops behind it."""

    op: ClassVar[type[Op]] = Fused


def _shape(call: KernelCall) -> _Shape:
    found = _Shape.of(call)
    assert isinstance(found, _Shape)
    return found


def _counts_taps(pool: Pool) -> bool:
    """Whether windows divide by how many of their elements lie inside the image."""
    return pool.kind == "average" and not pool.count_include_pad and (any(pool.pads) or pool.ceil_mode)


def _sweep(e: Emitter, found: _Shape, tactic: WindowTactic) -> Sweep:
    pool = found.pool
    n, h, w, channels = found.group.shape
    assert isinstance(channels, int)
    source = found.group.inputs[0].index
    assert source is not None
    _, height, width, _ = found.image.type.shape
    outer, down, _, _ = strides_of(found.image)
    image = Image(e.operand(source), height, width, channels, (outer, down, found.right))
    (kh, kw), (sh, sw), (dh, dw), (top, left, *_) = pool.kernel, pool.strides, pool.dilations, pool.pads
    geometry = Geometry((kh, kw), (sh, sw), (dh, dw), top, left)
    fill = -inf if pool.kind == "max" else 0.0
    return Sweep(geometry, image, (n, h, w), tactic.pixels, tactic.rows, fill, found.image.type.dtype)


def _over_taps(e: Emitter, tile: Tile, combine: Callable[[Ssa, Ssa], Ssa], first: float) -> tuple[Ssa, ...]:
    """Combine all elements of each window, beginning with a number."""

    def row(_: Index, load: Callable[[int], Ssa], *state: Ssa) -> Sequence[Ssa]:
        values = list(state)
        for column, uses in tile.taps.items():
            x = load(column)
            for p, _ in uses:
                values[p] = combine(values[p], x)
        return values

    start = literal(vector(tile.element, e.lanes_for("float")), first)
    return tile.over_rows(row, (start,) * tile.spot.width)


def _maximum(e: Emitter, tile: Tile, dtype: DType) -> tuple[Ssa, ...]:
    if dtype is F32:
        return _over_taps(e, tile, e.fmax, -inf)
    name, first = ("smax", -128) if dtype.is_signed else ("umax", 0)
    return _over_taps(e, tile, lambda a, b: e.call(f"llvm.{name}.{mangled(a.type)}", a.type, a, b), first)


def _average(e: Emitter, tile: Tile, pool: Pool) -> tuple[Ssa, ...]:
    sums = _over_taps(e, tile, e.fadd, 0.0)
    kh, kw = pool.kernel
    if not _counts_taps(pool):
        scale = literal(sums[0].type, 1.0 / (kh * kw))
        return tuple(e.fmul(s, scale) for s in sums)
    columns = Counter(p for uses in tile.taps.values() for p, _ in uses)
    rows = e.convert("sitofp", e.i64(e.sub(tile.line.last, tile.line.first)), "float")
    scales = {
        count: e.splat(e.fdiv(literal("float", 1.0), e.fmul(rows, literal("float", count))), sums[0].lanes)
        for count in sorted(set(columns.values()))
    }
    return tuple(e.fmul(s, scales[columns[p]]) for p, s in enumerate(sums))
