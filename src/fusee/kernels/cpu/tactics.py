"""How to cut a contraction: which tiles and units are worth trying, and what each is estimated to cost.

The estimate counts clocks of the tile's inner loop by its tightest port, plus what a tile costs outside it. Constants
are measured on Zen 5 and Granite Rapids; they rank candidates, they do not predict times.
"""

from __future__ import annotations

from dataclasses import dataclass

from fusee.base.dims import Dim
from fusee.base.target import CpuTarget
from fusee.kernels.cpu.contraction import Blocks, TileTactic
from fusee.kernels.cpu.tile import fits, most_pixels

GUESSED_SIZES = (1, 64, 64)  # what unknown sizes along n, h, w are taken to be
_CLOCKS_PER_US = 3800.0
_FMA_LATENCY = 4.0
_L2_BYTES_PER_CLOCK = 22.0
_L3_BYTES_PER_CLOCK = 18.0
_COPY_BYTES_PER_CLOCK = 16.0
_TILE_CLOCKS = 30.0  # loop set-up and pipeline drain
_ROW_CLOCKS = 6.0  # per pixel of a tile: its stores go to a line, often a page, of their own
_UNIT_CLOCKS = 200.0
_UNIT_US = 4.0  # units shorter than this cost more to hand out than they gain
_WANTED_UNITS = 24  # enough for a few threads to share evenly
_L1_SETS_BYTES = 4096  # lines this far apart share a set of the first-level cache, which has few places
_L1_WAYS = 11


@dataclass(frozen=True)
class Work:
    """What a contraction has to do, as far as cutting it up is concerned."""

    sizes: tuple[Dim, Dim, Dim]  # pixels along n, h, w
    channels: int
    length: int  # steps of the reduction
    right_bytes: int  # from a pixel to the next; 0 where unknown
    pixel_bytes: int  # input that belongs to one output pixel alone
    is_padded: bool

    @property
    def numbers(self) -> tuple[int, int, int]:
        """The sizes, guessed where they are not known."""
        n, h, w = (s if isinstance(s, int) else g for s, g in zip(self.sizes, GUESSED_SIZES, strict=True))
        return n, h, w


def tile_tactics(work: Work, target: CpuTarget) -> tuple[TileTactic, ...]:
    """Settings worth trying, the cheapest by estimate first."""
    vectors = -(-work.channels * 4 // target.vector_bytes)
    widths = [v for v in (1, 2, 3, 4, 5, 6, 8) if v <= vectors and fits(1, v, target)]
    found = dict.fromkeys(_cut(work, v, target, outer) for v in widths for outer in (False, True))
    return tuple(sorted(found, key=lambda t: tile_cost_us(work, t, target)))


def _cut(work: Work, vectors: int, target: CpuTarget, panels_outer: bool) -> TileTactic:
    """Units whose weights stay in the second-level cache, and enough of them for the threads."""
    _, h, w = work.numbers
    lanes = target.vector_bytes // 4
    pixels = min(most_pixels(vectors, target), h * w)
    panel_bytes = work.length * vectors * target.vector_bytes
    panels = max(1, min(-(-work.channels // (vectors * lanes)), target.l2_bytes // 2 // panel_bytes))
    everything = TileTactic(pixels, vectors, 1 << 20, panels, panels_outer, units_by_panel=True)
    blocks = Blocks(work.numbers, work.channels, lanes, everything)
    panel_blocks, n = blocks.panel_blocks, work.numbers[0]
    assert isinstance(panel_blocks, int)
    assert blocks.row_split is not None
    wanted = min(_WANTED_UNITS, max(1, int(tile_cost_us(work, everything, target) / _UNIT_US)))
    split = -(-wanted // panel_blocks)
    split = split if blocks.is_flat else max(1, split // n)
    whole = blocks.row_split.count if blocks.is_flat else h
    rows = max(1, min(-(-whole // split), _most_rows(work, target) if work.is_padded else whole))
    return TileTactic(pixels, vectors, rows, panels, panels_outer, units_by_panel=True)


def _most_rows(work: Work, target: CpuTarget) -> int:
    """Rows whose padded copies take at most a quarter of the second-level cache."""
    return max(1, target.l2_bytes // 4 // max(1, work.numbers[2] * work.pixel_bytes))


def tile_cost_us(work: Work, tactic: TileTactic, target: CpuTarget) -> float:
    """Estimated time on one core."""
    blocks = Blocks(work.numbers, work.channels, target.vector_bytes // 4, tactic)
    vectors = -(-work.channels // blocks.lanes)
    whole, tail = divmod(vectors, tactic.vectors)
    per_height = [whole * _tile(work, tactic, target, p, tactic.vectors) * k for p, k in _pixel_tiles(blocks)]
    per_height += [_tile(work, tactic, target, p, tail) * k for p, k in _pixel_tiles(blocks) if tail]
    return (sum(per_height) + _around(work, blocks)) / _CLOCKS_PER_US


def _pixel_tiles(blocks: Blocks) -> list[tuple[int, int]]:
    """The sizes of tiles in pixels, and how many there are of each."""
    n, h = (int(str(s)) for s in blocks.sizes[:2])
    split, height = blocks.row_split, blocks.tile_height
    assert split is not None
    rows = [(height, n * (h // height)), (h % height, n)]
    widths = [(split.largest, split.large), (split.size, split.count - split.large)]
    return [(y * x, a * b) for y, a in rows for x, b in widths if y * x * a * b]


def _tile(work: Work, tactic: TileTactic, target: CpuTarget, pixels: int, vectors: int) -> float:
    """Clocks of one tile."""
    panel_bytes = work.length * tactic.vectors * target.vector_bytes
    near = tactic.panels_outer and panel_bytes <= target.l1_bytes // 2
    rate = _L2_BYTES_PER_CLOCK if panel_bytes <= target.l2_bytes // 2 else _L3_BYTES_PER_CLOCK
    step = max(
        pixels * vectors / 2,
        (pixels + 2 * vectors) / 2,
        _FMA_LATENCY if pixels * vectors < 8 else 0.0,
        0.0 if near else vectors * target.vector_bytes / rate,
    )
    crowded = work.right_bytes and work.right_bytes % _L1_SETS_BYTES == 0 and pixels > _L1_WAYS
    if crowded:
        step *= 1.25 if pixels < 2 * _L1_WAYS else 4.0
    return work.length * step + _TILE_CLOCKS + _ROW_CLOCKS * pixels + 1.5 * pixels * vectors


def _around(work: Work, blocks: Blocks) -> float:
    """Clocks outside tiles: units, copies of padded rows, input read again for each block of panels."""
    n, h, w = work.numbers
    units, panel_blocks = blocks.units, blocks.panel_blocks
    assert isinstance(units, int)
    assert isinstance(panel_blocks, int)
    read_bytes = n * h * w * work.pixel_bytes * panel_blocks
    rate = _COPY_BYTES_PER_CLOCK if work.is_padded else 3 * _L3_BYTES_PER_CLOCK
    return units * _UNIT_CLOCKS + read_bytes / rate
