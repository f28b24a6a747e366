"""Pointwise groups that read an operand across its rows: tiles are turned in registers, so that every access is whole.

Two shapes of tile: square ones, loaded along the operand's rows, turned by shuffles and stored along the result's;
and for few channels, one vector per channel, interleaved on the way out (an image from planes to pixels).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fusee.base.dims import Dim, ceildiv, product
from fusee.ir.graph import Op, Value
from fusee.kernels.cpu.coords import Coord, Lanes, Spot, linear, store
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.formula import FormulaWriter
from fusee.kernels.cpu.group import Addresses, group_of
from fusee.kernels.cpu.pointwise import Plain, plain
from fusee.kernels.cpu.ssa import Index, Ssa
from fusee.kernels.cpu.trace import Leaf
from fusee.kernels.cpu.walk import UNIT_ELEMENTS, unravelled
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic

SHORT = 4  # axes of fewer positions would leave most of a tile empty
FEW = 8  # channels that are interleaved rather than turned


def turned_axis(found: Plain) -> int | None:
    """The axis along which an operand is contiguous that is not the result's last one."""
    last = len(found.sizes) - 1
    for steps in found.leaves.values():
        if steps[last] not in (0, 1) and found.result[last] == 1:
            return next((axis for axis in range(last) if steps[axis] == 1), None)
    return None


def interleaves(found: Plain, axis: int) -> bool:
    """Whether the last axis is short and the turned one lies right outside of it in the result."""
    size = found.sizes[-1]
    return isinstance(size, int) and size <= FEW and found.result[axis] == size


class Turned(Kernel):
    """Reads along one axis, writes along another."""

    op = Op

    def refuses(self, call: KernelCall) -> str:
        found = plain(group_of(call))
        if isinstance(found, str):
            return found
        axis = turned_axis(found)
        if axis is None:
            return "no operand is contiguous along another axis than the result"
        rows = found.sizes[axis]
        if isinstance(rows, int) and rows < SHORT:
            return "the axis along which the operand is contiguous is too short"
        if isinstance(found.sizes[-1], int) and found.sizes[-1] < SHORT and not interleaves(found, axis):
            return "the result's last axis is too short"
        return ""

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        group = group_of(call)
        found = plain(group)
        assert isinstance(found, Plain)
        e = Emitter(symbol, call.target)
        addresses = Addresses(e, group)
        axis = turned_axis(found)
        assert axis is not None
        kind = _Interleaving if interleaves(found, axis) else _Tiling
        writer = kind(e, found, axis, FormulaWriter(e, addresses, found.leaves), call)
        writer.emit()
        return Code(e.text(), (e.launch(writer.units),), frozenset(e.declarations), tuple(addresses.constants))


@dataclass(frozen=True, eq=False)
class _Tiles:
    """Loops over blocks of the turned axis; a work unit is one block, or several where blocks are small."""

    e: Emitter
    found: Plain
    axis: int
    writer: FormulaWriter
    call: KernelCall

    @property
    def width(self) -> int:
        return self.e.target.vector_bytes // 4

    @property
    def _outer(self) -> list[int]:
        return [i for i in range(len(self.found.sizes) - 1) if i != self.axis]

    @property
    def _blocks(self) -> Dim:
        return ceildiv(self.found.sizes[self.axis], self.width)

    @property
    def items(self) -> Dim:
        return product(self.found.sizes[i] for i in self._outer) * self._blocks

    @property
    def per_unit(self) -> int:
        last = self.found.sizes[-1]
        return max(1, UNIT_ELEMENTS // (self.width * max(1, last))) if isinstance(last, int) else 1

    @property
    def units(self) -> Dim:
        return ceildiv(self.items, self.per_unit)

    def emit(self) -> None:
        e = self.e
        end = e.min(e.mul(e.hi, self.per_unit), e.dim(self.items))
        e.loop(e.mul(e.lo, self.per_unit), end, 1, lambda item: self._item(item))

    def _item(self, item: Ssa) -> None:
        e, blocks = self.e, self.e.dim(self._blocks)
        spot = [Coord()] * len(self.found.sizes)
        outer = unravelled(e, e.div(item, blocks), [self.found.sizes[i] for i in self._outer])
        for axis, index in zip(self._outer, outer, strict=True):
            spot[axis] = Coord(index)
        start = e.mul(e.rem(item, blocks), self.width)
        count = e.min(e.sub(e.dim(self.found.sizes[self.axis]), start), self.width)
        self.block(tuple(spot), start, count)

    def block(self, spot: Spot, start: Index, count: Index) -> None:
        """Write one block: ``count`` positions of the turned axis from ``start`` on, all of the last axis."""

    def _with(self, spot: Spot, turned: Coord, last: Coord) -> Spot:
        return (*spot[: self.axis], turned, *spot[self.axis + 1 : -1], last)

    def _whole(self, size: Dim) -> bool:
        return isinstance(size, int) and size % self.width == 0

    def _either(self, whole: bool, count: Index, write: Callable[[Index | None], None]) -> None:
        """With masks only where a block is not whole: ``write`` gets None for whole ones."""
        e = self.e
        if whole or (isinstance(count, int) and count == self.width):
            write(None)
            return
        e.branch(e.icmp("eq", e.i64(count), e.i64(self.width)), lambda: write(None), lambda: write(count))


class _Interleaving(_Tiles):
    """One vector per channel, shuffled into pixels."""

    def block(self, spot: Spot, start: Index, count: Index) -> None:
        whole = self._whole(self.found.sizes[self.axis])
        self._either(whole, count, lambda kept: self._pixels(spot, start, kept))

    def _pixels(self, spot: Spot, start: Index, kept: Index | None) -> None:
        e, channels = self.e, self.found.sizes[-1]
        assert isinstance(channels, int)
        lanes = Lanes(self.width, None if kept is None else e.first_lanes(kept, self.width))
        planes = [
            self.writer.lanes(self.found.formula, self._with(spot, Coord(start, 1), Coord(c)), lanes)
            for c in range(channels)
        ]
        at = linear(e, self._with(spot, Coord(start), Coord(0)), self.found.result, self.width)
        dtype = self.call.results[0].type.dtype
        for k in range(channels):
            here = Lanes(self.width)
            if kept is not None:
                left = e.max(e.sub(e.mul(kept, channels), k * self.width), 0)
                here = Lanes(self.width, e.first_lanes(left, self.width))
            place = Coord(e.add(at.base, k * self.width), 1)
            store(e, interleaved(e, planes, k), e.result(), dtype, place, here)


def interleaved(e: Emitter, planes: Sequence[Ssa], part: int) -> Ssa:
    """The ``part``-th vector of ``planes[0][0], planes[1][0], ..., planes[0][1], ...``."""
    channels, width = len(planes), planes[0].lanes
    flat = [divmod(part * width + lane, channels) for lane in range(width)]
    found = e.shuffle(planes[0], planes[0], [pixel for pixel, _ in flat])
    for channel in range(1, channels):
        picks = [width + pixel if of == channel else lane for lane, (pixel, of) in enumerate(flat)]
        found = e.shuffle(found, planes[channel], picks)
    return found


class _Tiling(_Tiles):
    """Square tiles turned in registers."""

    def block(self, spot: Spot, start: Index, count: Index) -> None:
        e, last = self.e, self.found.sizes[-1]
        size = e.dim(last)

        def tile(first: Ssa) -> None:
            columns = e.min(e.sub(size, first), self.width)
            whole = self._whole(last) and self._whole(self.found.sizes[self.axis])
            if whole:
                self._tile(spot, start, first, None)
                return
            full = e.op("and", self._is_whole(columns), self._is_whole(count))
            e.branch(
                full,
                lambda: self._tile(spot, start, first, None),
                lambda: self._tile(spot, start, first, (count, columns)),
            )

        e.loop(0, size, self.width, tile)

    def _is_whole(self, count: Index) -> Ssa:
        return self.e.icmp("eq", self.e.i64(count), self.e.i64(self.width))

    def _tile(self, spot: Spot, start: Index, first: Index, kept: tuple[Index, Index] | None) -> None:
        turned = self._turned(spot, start, first, kept)
        e, dtype = self.e, self.call.results[0].type.dtype
        for k in range(self.width):
            given: dict[Leaf | Value, Ssa] = {leaf: rows[k] for leaf, rows in turned.items()}
            place = self._with(spot, Coord(e.add(start, k)), Coord(first, 1))
            lanes = Lanes(self.width, self._mask((kept[1], kept[0]) if kept else None, k))

            def write(place: Spot = place, lanes: Lanes = lanes, given: Mapping[Leaf | Value, Ssa] = given) -> None:
                value = self.writer.lanes(self.found.formula, place, lanes, given)
                store(e, value, e.result(), dtype, linear(e, place, self.found.result, self.width), lanes)

            if kept is None:
                write()
            else:
                e.branch(e.less(k, kept[0]), write)

    def _turned(
        self, spot: Spot, start: Index, first: Index, kept: tuple[Index, Index] | None
    ) -> dict[Leaf, list[Ssa]]:
        """Per leaf that lies across: its tile, one vector along the last axis per position of the turned one."""
        e, last = self.e, len(self.found.sizes) - 1
        tiles: dict[Leaf, list[Ssa]] = {}
        for leaf, steps in self.found.leaves.items():
            if steps[self.axis] != 1 or steps[last] in (0, 1):
                continue
            rows = [
                self.writer.lanes(
                    leaf,
                    self._with(spot, Coord(start, 1), Coord(e.add(first, j))),
                    Lanes(self.width, self._mask(kept, j)),
                )
                for j in range(self.width)
            ]
            tiles[leaf] = transposed(e, rows)
        return tiles

    def _mask(self, kept: tuple[Index, Index] | None, index: int) -> Ssa | None:
        """The lanes that exist, none when the row itself does not; ``kept`` counts lanes, then rows."""
        if kept is None:
            return None
        e = self.e
        count = e.select(e.less(index, kept[1]), e.i64(kept[0]), e.i64(0))
        return e.first_lanes(count, self.width)


def transposed(e: Emitter, rows: Sequence[Ssa]) -> list[Ssa]:
    """A square tile turned: blocks off the diagonal change places, at distances 1, 2, 4, ..."""
    tile, width = list(rows), len(rows)
    distance = 1
    while distance < width:
        for i in range(width):
            if i & distance:
                continue
            a, b = tile[i], tile[i + distance]
            low = [lane if not lane & distance else width + lane - distance for lane in range(width)]
            high = [lane + distance if not lane & distance else width + lane for lane in range(width)]
            tile[i], tile[i + distance] = e.shuffle(a, b, low), e.shuffle(a, b, high)
        distance *= 2
    return tile
