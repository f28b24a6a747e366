"""Relatives of convolution that gather where data says, or put blocks back: DeformConv and Col2Im."""

from __future__ import annotations

from typing import ClassVar

from fusee.base.dims import Dim, floordiv, product
from fusee.base.types import BOOL, Shape
from fusee.ir.graph import Op
from fusee.kernels.cpu.lane_types import compute_type, to_memory
from fusee.kernels.cpu.nest import Nest, add, working_type
from fusee.kernels.cpu.nest_sampling import as_float, blend, floor, tap_inside
from fusee.kernels.cpu.ssa import Index, Ssa, bits_of, element_of, vector
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic
from fusee.ops.conv_variants import Col2Im, DeformConv

BLOCK = 4  # vectors of pixels that one sum of products runs over at a time


class NestDeformConv(Kernel):
    """The image at every moved tap goes to memory [N, C, taps, pixels]; then vectors of pixels sum over the taps."""

    op: ClassVar[type[Op]] = DeformConv

    def refuses(self, call: KernelCall) -> str:
        if not call.operands[0].type.dtype.is_float:
            return f"{call.operands[0].type} is of integers"
        return "" if call.results[0].is_contiguous else "the result has gaps"

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        first, size = _sample_taps(Nest(f"{symbol}.taps", call))
        second = _sum_taps(Nest(symbol, call))
        launches = (*first.launches, *second.launches)
        declarations = first.declarations | second.declarations
        return Code(first.text + second.text, launches, declarations, (), (size,))


def _sample_taps(nest: Nest) -> tuple[Code, Dim]:
    """Fill the temporary; returns its size in bytes too."""
    e, op = nest.e, nest.call.op
    assert isinstance(op, DeformConv)
    x, w, result = nest.call.operands[0].type, nest.call.operands[1].type, nest.call.results[0].type
    kind, taps = working_type(x.dtype), w.with_shape(w.shape[2:]).static_shape()
    element = compute_type(kind)
    sizes = (x.shape[0], op.offset_group, *taps, *result.shape[2:])
    width = _share(x.shape[1], op.offset_group)

    def spot(index: tuple[Index, ...]) -> None:
        image, part, *at = index
        row = e.add(e.mul(e.add(e.mul(part, taps[0]), at[0]), taps[1]), at[1])
        axes = [_moved(nest, op, axis, image, row, at) for axis in (0, 1)]
        mask = nest.load(4, (image, row, *at[2:]), kind) if op.modulated else None
        tap = e.add(e.mul(at[0], taps[1]), at[1])

        def channel(c: tuple[Index, ...]) -> None:
            deep = e.add(e.mul(part, e.dim(width)), c[0])
            near = [
                [tap_inside(e, place, x.shape[2 + axis], kind, weight) for place, weight in pair]
                for axis, pair in enumerate(axes)
            ]
            value = blend(nest, near, (image, deep), kind)
            value = e.fmul(value, mask) if mask else value
            target: Index = image
            for size, i in zip((x.shape[1], taps[0] * taps[1], *result.shape[2:]), (deep, tap, *at[2:]), strict=True):
                target = e.add(e.mul(target, e.dim(size)), i)
            e.store(value, e.at(e.temp(0), element, target))

        nest.loops((width,), channel)

    units = nest.rows(sizes, spot)
    bytes_of = product((x.shape[0], x.shape[1], *taps, *result.shape[2:])) * (bits_of(element) // 8)
    return nest.code(units), bytes_of


def _moved(nest: Nest, op: DeformConv, axis: int, image: Index, row: Index, at: list[Index]) -> list[tuple[Ssa, Ssa]]:
    """Both whole positions around a moved tap along one axis, and their weights."""
    e, kind = nest.e, working_type(nest.call.operands[0].type.dtype)
    spot = e.add(e.mul(at[2 + axis], op.strides[axis]), e.mul(at[axis], op.dilations[axis]))
    base = as_float(e, e.sub(spot, op.pads[axis]), kind)
    place = e.fadd(base, nest.load(2, (image, e.add(e.mul(row, 2), axis), *at[2:]), kind))
    low, one = floor(e, place), nest.number(1, kind)
    fraction = e.fsub(place, low)
    return [(low, e.fsub(one, fraction)), (e.fadd(low, one), fraction)]


def _sum_taps(nest: Nest) -> Code:
    """A work unit is one channel of one result image."""
    e, op = nest.e, nest.call.op
    assert isinstance(op, DeformConv)
    x, w, result = nest.call.operands[0].type, nest.call.operands[1].type, nest.call.results[0].type
    kind = working_type(x.dtype)
    lanes = e.lanes_for(compute_type(kind))
    type, pixels = vector(compute_type(kind), lanes), product(result.shape[2:])
    taps = w.with_shape(w.shape[2:]).static_shape()
    _, inner, *_ = w.shape

    def plane(index: tuple[Index, ...]) -> None:
        image, channel = index
        group = e.div(channel, e.dim(_share(w.shape[0], op.group)))
        start = e.splat(nest.load(3, (channel,), kind), lanes)
        target = nest.position(nest.call.results[0], (image, channel, 0, 0))

        def block(at: Ssa) -> None:
            def tap(k: tuple[Index, ...], *sums: Ssa) -> list[Ssa]:
                deep = e.add(e.mul(group, e.dim(inner)), k[0])
                row = e.add(e.mul(image, e.dim(x.shape[1])), deep)
                row = e.add(e.mul(e.add(e.mul(row, taps[0]), k[1]), taps[1]), k[2])
                base = e.at(e.temp(0), element_of(type), e.add(e.mul(row, e.dim(pixels)), at))
                weight = e.splat(nest.load(1, (channel, *k), kind), lanes)
                return [
                    e.fma(_some(nest, base, type, i, e.sub(e.dim(pixels), at)), weight, s) for i, s in enumerate(sums)
                ]

            for i, total in enumerate(nest.loops((inner, *taps), tap, [start] * BLOCK)):
                raw = to_memory(e, total, result.dtype)
                where = e.at(e.result(), element_of(raw.type), e.add(e.add(target, at), i * lanes))
                left = e.sub(e.sub(e.dim(pixels), at), i * lanes)
                e.store_masked(raw, where, e.first_lanes(e.max(left, 0), lanes))

        e.loop(0, e.dim(pixels), BLOCK * lanes, block)

    return nest.code(nest.rows(result.shape[:2], plane))


def _some(nest: Nest, base: Ssa, type: str, number: int, left: Index) -> Ssa:
    """Vector ``number`` of a row of which ``left`` elements are left."""
    e, lanes = nest.e, nest.e.lanes_for(element_of(type))
    mask = e.first_lanes(e.max(e.sub(left, number * lanes), 0), lanes)
    return e.load_masked(type, e.at(base, element_of(type), number * lanes), mask)


def _share(size: Dim, parts: int) -> Dim:
    return size // parts


class NestCol2Im(Kernel):
    """For each element of the image, the blocks that reach it."""

    op: ClassVar[type[Op]] = Col2Im

    def refuses(self, call: KernelCall) -> str:
        return "truth values are not added" if call.operands[0].type.dtype is BOOL else ""

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        op, nest = call.op, Nest(symbol, call)
        assert isinstance(op, Col2Im)
        e, kind = nest.e, working_type(call.operands[0].type.dtype)
        counts = tuple(_block_count(op, axis) for axis in range(len(op.image)))

        def element(index: tuple[Index, ...]) -> None:
            image, channel, *spot = index

            def tap(at: tuple[Index, ...], total: Ssa) -> tuple[Ssa, ...]:
                reached = [_block_of(nest, op, axis, spot[axis], k, counts) for axis, k in enumerate(at)]
                row = _flat(nest, (channel, *at), (1, *op.block))
                column = _flat(nest, tuple(i for i, _ in reached), counts)

                def one() -> tuple[Ssa, ...]:
                    return (add(e, total, nest.load(0, (image, row, column), kind), kind),)

                return nest.when(nest.all_of([test for _, tests in reached for test in tests]), one, (total,))

            (total,) = nest.loops(op.block, tap, (nest.number(0, kind),))
            nest.store(total, index)

        return nest.code(nest.rows(call.results[0].type.shape, element))


def _block_count(op: Col2Im, axis: int) -> Dim:
    """How many blocks lie along one axis."""
    padded = op.image[axis] + op.pads[axis] + op.pads[axis + len(op.image)]
    reach = op.dilations[axis] * (op.block[axis] - 1) + 1
    return floordiv(padded - reach, op.strides[axis]) + 1


def _flat(nest: Nest, index: tuple[Index, ...], sizes: Shape) -> Index:
    flat: Index = 0
    for i, size in zip(index, sizes, strict=True):
        flat = nest.e.add(nest.e.mul(flat, nest.e.dim(size)), i)
    return flat


def _block_of(nest: Nest, op: Col2Im, axis: int, spot: Index, tap: Index, counts: Shape) -> tuple[Index, list[Ssa]]:
    """The block whose tap falls on an element, along one axis, and what must hold for there to be one."""
    e, stride = nest.e, op.strides[axis]
    ahead = e.sub(e.add(spot, op.pads[axis]), e.mul(tap, op.dilations[axis]))
    if stride == 1:
        return ahead, [nest.within(ahead, counts[axis])]
    flat = e.i64(ahead)
    quotient = e.assign("i64", f"sdiv i64 {flat}, {stride}")
    exact = e.icmp("eq", e.i64(e.mul(quotient, stride)), flat)
    return quotient, [exact, nest.within(quotient, counts[axis])]


DEFORM_KERNELS: tuple[Kernel, ...] = (NestDeformConv(), NestCol2Im())
