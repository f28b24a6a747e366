"""The loops around register tiles: work units over blocks of pixels and of channels, tiles inside, tails at the ends.

A contraction is a matrix product in disguise: every output pixel (n, h, w) is a reduction over its taps with packed
weights. Matrix products, convolutions and attention differ only in where a pixel's elements lie (``Feed``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fusee.base.dims import Dim, ceildiv
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.epilogue import Columns, Epilogue, Spot
from fusee.kernels.cpu.ssa import Index, Ssa, vector
from fusee.kernels.cpu.tile import Split, Taps, accumulate, over_cascade, over_split, zeros
from fusee.kernels.kernel import Tactic


@dataclass(frozen=True)
class TileTactic(Tactic):
    """How a contraction is cut up."""

    pixels: int  # of a register tile
    vectors: int  # of a register tile
    rows: int  # rows of pixels (or tiles of a single row) per work unit
    panels: int  # channel panels (``vectors`` wide) per work unit
    panels_outer: bool  # inside a unit: panels around tiles, or tiles around panels
    units_by_panel: bool  # which unit follows which: all pixels of a panel block first, or all panels of a pixel block


@dataclass(frozen=True)
class Window:
    """A block of pixels: image n, rows [top, bottom), pixels [left, right) of each."""

    n: Index
    top: Index
    bottom: Index
    left: Index
    right: Index


class Feed(Protocol):
    """Where the taps of pixels lie."""

    @property
    def down_bytes(self) -> Dim:
        """From a pixel's first element to that of the pixel below."""
        ...

    @property
    def right_bytes(self) -> Dim: ...

    def open(self, e: Emitter, window: Window) -> Ssa:
        """Make ready what a block of pixels reads; the address of the first tap of pixel (window.top, 0)."""
        ...


class Weights(Protocol):
    """Where a panel's packed weights lie."""

    def panel(self, e: Emitter, column: Index) -> Ssa:
        """The address of the weights of the channels from ``column`` on, a multiple of the panel width."""
        ...

    def step_bytes(self, e: Emitter, vectors: int) -> int:
        """From one step's weights to the next's, in a panel of which that many vectors are used."""
        ...


@dataclass(frozen=True)
class Blocks:
    """How the pixels and channels of a contraction are cut into work units and tiles."""

    sizes: tuple[Dim, Dim, Dim]  # pixels along n, h, w
    channels: Dim
    lanes: int
    tactic: TileTactic

    @property
    def panel_width(self) -> int:
        return self.tactic.vectors * self.lanes

    @property
    def panel_blocks(self) -> Dim:
        return ceildiv(self.channels, self.panel_width * self.tactic.panels)

    @property
    def is_flat(self) -> bool:
        """Whether all pixels form one row, which is then what units divide."""
        return self.sizes[0] == 1 and self.sizes[1] == 1

    @property
    def row_split(self) -> Split | None:
        """The tiles of one row, when its length is known."""
        w = self.sizes[2]
        return Split.even(w, self.tactic.pixels) if isinstance(w, int) else None

    @property
    def tile_height(self) -> int:
        """Rows per tile: more than one where rows are so short that a tile holds several."""
        _, h, w = self.sizes
        if not isinstance(w, int) or not isinstance(h, int):
            return 1
        return min(max(1, self.tactic.pixels // w), h)

    @property
    def rows_per_unit(self) -> int:
        """Rows of pixels in a unit: whole tiles. 1 where all pixels form one row."""
        return 1 if self.is_flat else max(1, self.tactic.rows // self.tile_height) * self.tile_height

    @property
    def pixels_per_row(self) -> Dim:
        """The longest stretch of a row that a unit holds."""
        w, split = self.sizes[2], self.row_split
        if not self.is_flat:
            return w
        if split is None:
            return self.tactic.rows * self.tactic.pixels
        return min(split.extent, self.tactic.rows * split.largest)

    @property
    def pixel_blocks(self) -> Dim:
        n, h, w = self.sizes
        if not self.is_flat:
            return n * ceildiv(h, self.rows_per_unit)
        split = self.row_split
        return ceildiv(split.count if split else ceildiv(w, self.tactic.pixels), self.tactic.rows)

    @property
    def units(self) -> Dim:
        return self.pixel_blocks * self.panel_blocks

    def stretch(self, e: Emitter, block: Index) -> tuple[Index, Index]:
        """The pixels of a block of the only row: from and to."""
        split, step = self.row_split, self.tactic.rows
        if split is None:
            lo = e.mul(block, step * self.tactic.pixels)
            return lo, e.min(e.add(lo, step * self.tactic.pixels), e.dim(self.sizes[2]))
        if split.count <= step:
            return 0, split.extent
        lo, hi = e.mul(block, step), e.min(e.mul(e.add(block, 1), step), split.count)
        return split.start_of(e, lo), split.start_of(e, hi)


@dataclass(frozen=True, eq=False)
class Contraction:
    """Everything the loops need."""

    blocks: Blocks
    taps: Taps
    feed: Feed
    weights: Weights
    bias: Ssa | None  # per channel, padded to whole vectors
    epilogue: Epilogue


@dataclass(frozen=True, eq=False)
class DirectFeed:
    """Pixels read where the tensor lies: no padding, or none that matters."""

    start: Ssa
    image_bytes: Dim
    down_bytes: Dim
    right_bytes: Dim

    def open(self, e: Emitter, window: Window) -> Ssa:
        at = e.add(e.mul(window.n, e.dim(self.image_bytes)), e.mul(window.top, e.dim(self.down_bytes)))
        return e.offset(self.start, at)


def emit_contraction(e: Emitter, job: Contraction) -> None:
    """The body of the kernel: all units of [lo, hi)."""
    e.loop(e.lo, e.hi, 1, lambda unit: emit_unit(e, job, unit))


def emit_unit(e: Emitter, job: Contraction, unit: Index) -> None:
    """One work unit, of ``job.blocks.units``."""
    _Unit(e, job, Tiles(e, job)).emit(unit)


TileVisit = Callable[[Spot, Ssa], None]  # a tile, and the address of its first tap


@dataclass(frozen=True, eq=False)
class _Unit:
    """One work unit: a block of pixels times a block of panels."""

    e: Emitter
    job: Contraction
    tiles: Tiles

    def emit(self, unit: Index) -> None:
        e, blocks = self.e, self.job.blocks
        panels, pixels = self._blocks(unit)
        width = blocks.panel_width * blocks.tactic.panels
        first = e.mul(panels, width)
        last = e.min(e.add(first, width), e.dim(blocks.channels))
        self.tiles.emit(self._stretch(pixels) if blocks.is_flat else self._rows(pixels), first, last)

    def _blocks(self, unit: Index) -> tuple[Index, Index]:
        """Which panel block and which pixel block."""
        e, job = self.e, self.job
        if job.blocks.panel_blocks == 1:
            return 0, unit
        if job.blocks.tactic.units_by_panel:
            blocks = e.dim(job.blocks.pixel_blocks)
            return e.div(unit, blocks), e.rem(unit, blocks)
        return e.rem(unit, e.dim(job.blocks.panel_blocks)), e.div(unit, e.dim(job.blocks.panel_blocks))

    def _stretch(self, block: Index) -> Callable[[TileVisit], None]:
        """The tiles of a stretch of the only row."""
        e, job = self.e, self.job
        lo, hi = job.blocks.stretch(e, block)
        base = job.feed.open(e, Window(0, 0, 1, lo, hi))
        return lambda visit: self.tiles.row(base, Spot(0, 0, 0, 1, 0), (lo, hi), visit)

    def _rows(self, block: Index) -> Callable[[TileVisit], None]:
        """The tiles of a block of rows of one image."""
        e, job = self.e, self.job
        h, per_unit = job.blocks.sizes[1], job.blocks.rows_per_unit
        blocks = e.dim(ceildiv(h, per_unit))
        n, top = e.div(block, blocks), e.mul(e.rem(block, blocks), per_unit)
        bottom = e.min(e.add(top, per_unit), e.dim(h))
        base = job.feed.open(e, Window(n, top, bottom, 0, e.dim(job.blocks.sizes[2])))
        left = h % job.blocks.tile_height if isinstance(h, int) else 0
        heights = (job.blocks.tile_height, left) if left else (job.blocks.tile_height,)

        def visit_all(visit: TileVisit) -> None:
            def row(y: Index, height: int) -> None:
                here = e.offset(base, e.mul(y, e.dim(job.feed.down_bytes)))
                start = Spot(n, e.add(top, y), 0, height, 0)
                self.tiles.row(here, start, (0, e.dim(job.blocks.sizes[2])), visit)

            over_cascade(e, heights, 0, e.sub(bottom, top), row)

        return visit_all


@dataclass(frozen=True, eq=False)
class Tiles:
    """The tiles of a region of pixels and channels."""

    e: Emitter
    job: Contraction

    def emit(self, over_tiles: Callable[[TileVisit], None], first: Index, last: Index) -> None:
        """All tiles that ``over_tiles`` visits, for the channels [first, last)."""
        if self.job.blocks.tactic.panels_outer:
            self._over_columns(first, last, lambda c: over_tiles(lambda spot, at: self._tile(spot, at, c)))
        else:
            over_tiles(lambda spot, at: self._over_columns(first, last, lambda c: self._tile(spot, at, c)))

    def row(self, base: Ssa, start: Spot, ends: tuple[Index, Index], visit: TileVisit) -> None:
        """Visit the tiles of pixels [ends) of a row; ``base`` is the address of the row's pixel 0."""
        e, job = self.e, self.job

        def tile(w: Index, width: int) -> None:
            spot = Spot(start.n, start.h, w, start.height, width)
            visit(spot, e.offset(base, e.mul(w, e.dim(job.feed.right_bytes))))

        split = job.blocks.row_split
        if split is not None:
            over_split(e, split, *ends, tile)
        else:
            over_cascade(e, cascade(job.blocks.tactic.pixels), *ends, tile)

    def _over_columns(self, first: Index, last: Index, visit: Callable[[Columns], None]) -> None:
        blocks = self.job.blocks
        over_columns(self.e, self.e.dim(blocks.channels), blocks.tactic.vectors, (first, last), visit)

    def _tile(self, spot: Spot, at: Ssa, columns: Columns) -> None:
        e, job = self.e, self.job
        down, right = (e.dim(b) for b in (job.feed.down_bytes, job.feed.right_bytes))
        pixels = [_address(e, at, e.add(e.mul(down, y), e.mul(right, x))) for y, x in spot.pixels]
        weights = job.weights.panel(e, columns.first), job.weights.step_bytes(e, columns.vectors)
        sums = accumulate(e, job.taps, pixels, weights, self._start(spot, columns), columns.vectors)
        job.epilogue.emit(e, spot, columns, sums)

    def _start(self, spot: Spot, columns: Columns) -> tuple[Ssa, ...]:
        """The accumulators to begin with: the bias, or zero."""
        e, job = self.e, self.job
        count = len(spot.pixels)
        if job.bias is None:
            return zeros(e, count * columns.vectors)
        at = e.at(job.bias, "float", columns.first)
        width = e.target.vector_bytes
        loaded = [
            e.load(vector("float", job.blocks.lanes), e.offset(at, j * width), width) for j in range(columns.vectors)
        ]
        return tuple(loaded * count)


def over_columns(
    e: Emitter, channels: Index, vectors: int, ends: tuple[Index, Index], visit: Callable[[Columns], None]
) -> None:
    """The panels of channels [ends): whole ones in a loop, then what is left of all channels under masks."""
    first, last = ends
    lanes = e.lanes_for("float")
    whole = e.mul(e.div(channels, vectors * lanes), vectors * lanes)
    full = (None,) * vectors
    over_cascade(e, (vectors * lanes,), first, e.min(last, whole), lambda column, _: visit(Columns(column, full)))
    if isinstance(whole, int) and whole == channels:
        return
    tail = Columns(whole, _tail_masks(e, e.sub(channels, whole), vectors))
    if isinstance(whole, int) and isinstance(last, int):
        visit(tail)
    else:
        e.branch(e.less(whole, last), lambda: visit(tail))


def _tail_masks(e: Emitter, left: Index, vectors: int) -> tuple[Ssa | None, ...]:
    """Masks of the vectors that hold the last channels."""
    lanes = e.lanes_for("float")
    if isinstance(left, int):
        return _fixed_masks(left, lanes)
    return tuple(e.first_lanes(e.max(e.sub(left, j * lanes), 0), lanes) for j in range(vectors))


def cascade(pixels: int) -> tuple[int, ...]:
    """Tile heights for a row whose length is known only at run time: the full one, then halves down to one pixel."""
    sizes = [pixels]
    while sizes[-1] > 1:
        sizes.append(sizes[-1] // 2)
    return tuple(sizes)


def _fixed_masks(channels: int, lanes: int) -> tuple[Ssa | None, ...]:
    type = vector("i1", lanes)
    whole, left = divmod(channels, lanes)
    bits = ", ".join(f"i1 {int(lane < left)}" for lane in range(lanes))
    return (None,) * whole + ((Ssa(f"<{bits}>", type),) if left else ())


def _address(e: Emitter, at: Ssa, distance: Index) -> Ssa | tuple[Ssa, int]:
    return (at, distance) if isinstance(distance, int) else e.offset(at, distance)
