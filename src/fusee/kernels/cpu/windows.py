"""Sliding windows over NHWC images, vectorised over channels: the loops that depthwise convolution and pools share.

A tile is a few neighbouring windows of one output row and one vector of channels. Each input vector is loaded once
per tile and row, and given to every window that it falls into. Windows that hang over the left or right edge get tiles
of their own, written for exactly the taps that exist; rows above and below the image are left out of the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fusee.base.dims import Dim, ceildiv
from fusee.base.types import F32, DType
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.epilogue import Columns, Spot
from fusee.kernels.cpu.padding import Image, PaddedRows
from fusee.kernels.cpu.ssa import Index, Ssa, memory_type, vector
from fusee.kernels.cpu.tile import Split, over_cascade

_EDGE_TILES = 6  # more tiles than this at the edges are not written out one by one


@dataclass(frozen=True)
class Geometry:
    """Where windows lie."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    top: int
    left: int

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns that one window spans."""
        (kh, kw), (dh, dw) = self.kernel, self.dilations
        return (kh - 1) * dh + 1, (kw - 1) * dw + 1

    def inside(self, first: int, pixels: int, width: int) -> bool:
        """Whether windows [first, first + pixels) of a row lie within the image."""
        start = first * self.strides[1] - self.left
        end = (first + pixels - 1) * self.strides[1] - self.left + self.reach[1]
        return start >= 0 and end <= width

    def taps(self, first: int, pixels: int, width: int | None) -> dict[int, list[tuple[int, int]]]:
        """Input column (from the tile's first tap on) -> the (window, tap) pairs that read it."""
        found: dict[int, list[tuple[int, int]]] = {}
        for p in range(pixels):
            for k in range(self.kernel[1]):
                column = p * self.strides[1] + k * self.dilations[1]
                x = first * self.strides[1] - self.left + column
                if width is None or 0 <= x < width:
                    found.setdefault(column, []).append((p, k))
        return dict(sorted(found.items()))


@dataclass(frozen=True, eq=False)
class Line:
    """What the windows of one output row read: rows [first, last) of the kernel, from ``start`` on."""

    start: Ssa  # input row of kernel row 0, column of tap 0 of window 0
    row_bytes: Index  # from one kernel row to the next
    pixel_bytes: int
    first: Index
    last: Index


@dataclass(frozen=True, eq=False)
class Tile:
    """Some windows of a row and one vector of channels."""

    e: Emitter
    line: Line
    spot: Spot
    columns: Columns
    taps: dict[int, list[tuple[int, int]]]
    stride: int
    element: str

    def over_rows(self, body: Callable[..., Sequence[Ssa]], start: Sequence[Ssa]) -> tuple[Ssa, ...]:
        """``body(row, load, *state)`` for each kernel row; ``load(column)`` gives the vector of an input column."""
        e, line = self.e, self.line
        base = e.offset(line.start, e.mul(self.spot.w, self.stride * line.pixel_bytes))
        base = e.at(base, self.element, self.columns.first)
        type = vector(self.element, e.lanes_for("float"))

        def row(k: Index, *state: Ssa) -> Sequence[Ssa]:
            here = e.offset(base, e.mul(k, line.row_bytes))
            return body(k, lambda column: e.load(type, e.offset(here, column * line.pixel_bytes)), *state)

        return e.loop(line.first, line.last, 1, row, start)


@dataclass(frozen=True, eq=False)
class Sweep:
    """All windows of an image batch: work units are blocks of output rows."""

    geometry: Geometry
    image: Image
    sizes: tuple[Dim, Dim, Dim]  # windows along n, h, w
    pixels: int  # of a tile
    rows: int  # output rows of a unit
    fill: float  # what stands outside the image
    dtype: DType = F32  # another than f32 only where ``is_static``

    @property
    def is_static(self) -> bool:
        """Whether rows are known well enough to write out the tiles at their edges."""
        return self._static_tiles() is not None

    @property
    def units(self) -> Dim:
        n, h, _ = self.sizes
        return n * ceildiv(h, self.rows)

    @property
    def padded_width(self) -> Dim:
        return (self.sizes[2] - 1) * self.geometry.strides[1] + self.geometry.reach[1]

    @property
    def padded_rows(self) -> int:
        return (self.rows - 1) * self.geometry.strides[0] + self.geometry.reach[0]

    def emit(self, e: Emitter, buffer: Ssa, visit: Callable[[Tile], None]) -> None:
        """Visit every tile of the units [lo, hi)."""
        e.loop(e.lo, e.hi, 1, lambda unit: self._unit(e, buffer, unit, visit))

    def _unit(self, e: Emitter, buffer: Ssa, unit: Index, visit: Callable[[Tile], None]) -> None:
        h = e.dim(self.sizes[1])
        blocks = e.dim(ceildiv(self.sizes[1], self.rows))
        n, top = e.div(unit, blocks), e.mul(e.rem(unit, blocks), self.rows)
        bottom = e.min(e.add(top, self.rows), h)
        padded = None if self.is_static else self._padded(e, buffer, n, top, bottom)

        def row(y: Index) -> None:
            line = self._direct_line(e, n, y) if padded is None else self._padded_line(e, padded, e.sub(y, top))
            self._row(e, line, n, y, visit)

        e.loop(top, bottom, 1, row)

    def _padded(self, e: Emitter, buffer: Ssa, n: Index, top: Index, bottom: Index) -> PaddedRows:
        geometry, down = self.geometry, self.geometry.strides[0]
        rows = PaddedRows(self.image, buffer, self.padded_width, geometry.top, geometry.left, self.fill)
        between = e.mul(e.sub(e.sub(bottom, top), 1), down)
        rows.copy(e, n, e.mul(top, down), e.add(between, geometry.reach[0]), 0)
        return rows

    def _padded_line(self, e: Emitter, rows: PaddedRows, y: Index) -> Line:
        geometry, row_bytes = self.geometry, e.dim(rows.row_bytes)
        start = e.offset(rows.buffer, e.mul(e.mul(y, geometry.strides[0]), row_bytes))
        step = e.mul(row_bytes, geometry.dilations[0])
        return Line(start, step, self.image.channels * 4, 0, geometry.kernel[0])

    def _direct_line(self, e: Emitter, n: Index, y: Index) -> Line:
        image, geometry = self.image, self.geometry
        batch, down, right = image.strides
        top = e.sub(e.mul(y, geometry.strides[0]), geometry.top)
        at = e.add(e.mul(n, e.dim(batch)), e.sub(e.mul(top, e.dim(down)), geometry.left * right))
        dilation = geometry.dilations[0]
        first = e.div(e.add(e.max(e.sub(0, top), 0), dilation - 1), dilation)
        room = e.max(e.sub(e.dim(image.height), top), 0)
        last = e.min(e.div(e.add(room, dilation - 1), dilation), geometry.kernel[0])
        size = self.dtype.itemsize_bytes
        start = e.offset(image.start, e.mul(at, size))
        return Line(start, e.mul(e.dim(down), size * dilation), right * size, first, last)

    def _row(self, e: Emitter, line: Line, n: Index, h: Index, visit: Callable[[Tile], None]) -> None:
        def tiles(w: Index, pixels: int, taps: dict[int, list[tuple[int, int]]]) -> None:
            spot = Spot(n, h, w, 1, pixels)
            stride, element = self.geometry.strides[1], memory_type(self.dtype)
            self._over_channels(e, lambda c: visit(Tile(e, line, spot, c, taps, stride, element)))

        found = self._static_tiles()
        if found is None:
            sizes = tuple(dict.fromkeys((self.pixels, max(1, self.pixels // 4), 1)))
            over_cascade(e, sizes, 0, e.dim(self.sizes[2]), lambda w, p: tiles(w, p, self.geometry.taps(0, p, None)))
            return
        for first, last, pixels, taps in found:
            over_cascade(e, (pixels,), first, last, lambda w, p, taps=taps: tiles(w, p, taps))

    def _static_tiles(self) -> list[tuple[int, int, int, dict[int, list[tuple[int, int]]]]] | None:
        """Runs of equal tiles of a row: from, to, windows in a tile, taps. None when the row is not known."""
        extent, width, geometry = self.sizes[2], self.image.width, self.geometry
        if not isinstance(extent, int) or not isinstance(width, int):
            return None
        runs: list[tuple[int, int, int, dict[int, list[tuple[int, int]]]]] = []
        first = 0
        for size in _sizes(Split.even(extent, self.pixels)):
            whole = geometry.inside(first, size, width)
            taps = geometry.taps(0, size, None) if whole else geometry.taps(first, size, width)
            if runs and runs[-1][2:] == (size, taps):
                runs[-1] = (runs[-1][0], first + size, size, taps)
            else:
                runs.append((first, first + size, size, taps))
            first += size
        return runs if len(runs) <= _EDGE_TILES else None

    def _over_channels(self, e: Emitter, visit: Callable[[Columns], None]) -> None:
        lanes, channels = e.lanes_for("float"), self.image.channels
        whole = channels // lanes * lanes
        over_cascade(e, (lanes,), 0, whole, lambda c, _: visit(Columns(c, (None,))))
        if whole < channels:
            bits = ", ".join(f"i1 {int(lane < channels - whole)}" for lane in range(lanes))
            visit(Columns(whole, (Ssa(f"<{bits}>", vector("i1", lanes)),)))


def _sizes(split: Split) -> list[int]:
    return [split.largest] * split.large + [split.size] * (split.count - split.large)
