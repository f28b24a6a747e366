"""How to cut a contraction: which tiles and units are worth trying, and what each is estimated to cost."""

from __future__ import annotations

from dataclasses import dataclass

from fusee.base.dims import Dim
from fusee.base.target import CpuTarget
from fusee.kernels.cpu.contraction import Blocks, TileTactic
from fusee.kernels.cpu.tile import fits, most_pixels

GUESSED_SIZE = 64  # what an unknown size is taken to be


@dataclass(frozen=True)
class Work:
    """What a contraction has to do, as far as cutting it up is concerned."""

    sizes: tuple[Dim, Dim, Dim]  # pixels along n, h, w
    channels: int
    length: int  # steps of the reduction
    input_channels: int
    is_padded: bool

    @property
    def numbers(self) -> tuple[int, int, int]:
        """The sizes, guessed where they are not known."""
        n, h, w = (s if isinstance(s, int) else GUESSED_SIZE for s in self.sizes)
        return n, h, w


def tile_tactics(work: Work, target: CpuTarget) -> tuple[TileTactic, ...]:
    """Settings worth trying, the cheapest by estimate first."""
    vectors = -(-work.channels * 4 // target.vector_bytes)
    widths = [v for v in (1, 2, 3, 4, 6, 8) if v <= vectors and fits(1, v, target)]
    found = [_tactic(work, v, target) for v in widths]
    return tuple(sorted(found, key=lambda t: tile_cost_us(work, t, target)))


def _tactic(work: Work, vectors: int, target: CpuTarget) -> TileTactic:
    n, h, w = work.numbers
    pixels = min(most_pixels(vectors, target), h * w)
    rows = max(1, h // 4) if n * h > 1 else 8
    panels = 4
    return TileTactic(pixels, vectors, rows, panels, panels_outer=False, units_by_panel=True)


def tile_cost_us(work: Work, tactic: TileTactic, target: CpuTarget) -> float:
    """Estimated time on one core."""
    lanes = target.vector_bytes // 4
    blocks = Blocks(work.numbers, work.channels, lanes, tactic)
    split = blocks.row_split
    assert split is not None
    n, h, _ = work.numbers
    tiles = n * -(-h // blocks.tile_height) * split.count
    vectors = -(-work.channels // lanes)
    pixels = split.size * blocks.tile_height
    fmas = max(pixels * tactic.vectors / 2, 4.0, (pixels + tactic.vectors) / 2)
    clocks = tiles * -(-vectors // tactic.vectors) * (work.length * fmas + 40)
    return clocks / 4000
