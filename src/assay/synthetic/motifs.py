"""Monogram motifs and how a pattern that repeats is laid over a surface."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
from PIL import Image

from assay.synthetic.arrays import Field, Pixels, in_bytes, ramp, resized
from assay.synthetic.glyphs import Letterform, inscribe


class MotifKind(Enum):
    BLOSSOM = "blossom"
    STAR = "star"
    LOZENGE = "lozenge"
    RING = "ring"
    LINKS = "links"
    CROSS = "cross"
    INITIALS = "initials"


@dataclass(frozen=True)
class Motif:
    """One sign of a pattern. `arms`: petals, rays or links; `pinch`: how deep the outline is cut, 0..1;
    `core`: radius of what is cut out of the middle, 0: nothing; `turn_deg`: its rotation; `band`: 0 for a filled
    sign, else the thickness of its outline.
    """

    kind: MotifKind
    arms: int
    pinch: float
    core: float
    turn_deg: float
    band: float
    text: str
    form: Letterform


def draw_motif(motif: Motif, size_px: int) -> Field:
    """Coverage f32[size_px, size_px]; the sign fills the square but for a thin rim."""
    if motif.kind is MotifKind.INITIALS:
        return _draw_initials(motif, size_px)
    axis = (np.arange(size_px, dtype=np.float32) + 0.5) * (2.0 / size_px) - 1.0
    turn = math.radians(motif.turn_deg)
    x = axis[None, :] * math.cos(turn) + axis[:, None] * math.sin(turn)
    y = axis[:, None] * math.cos(turn) - axis[None, :] * math.sin(turn)
    depth = _depth(motif, x.astype(np.float32), y.astype(np.float32))
    soften = 1.6 / size_px
    cover = ramp(depth, -soften, soften)
    if motif.band > 0:
        cover = cover * (1.0 - ramp(depth - np.float32(motif.band), -soften, soften))
    if motif.core > 0 and motif.band == 0:
        cover = cover * ramp(np.hypot(x, y) - np.float32(motif.core), -soften, soften)
    return cover.astype(np.float32)


def _depth(motif: Motif, x: Field, y: Field) -> Field:
    """About how far inside the outline a point is, in half sizes; negative outside."""
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    if motif.kind is MotifKind.BLOSSOM:
        wave = np.abs(np.cos(angle * (motif.arms / 2.0)))
        return 0.94 * (1.0 - motif.pinch * 0.7 * (1.0 - wave)) - radius
    if motif.kind is MotifKind.STAR:
        saw = np.abs(((angle * motif.arms / (2 * np.pi)) % 1.0) - 0.5) * 2.0
        return 0.96 * (1.0 - motif.pinch * 0.75 * (1.0 - saw)) - radius
    if motif.kind is MotifKind.LOZENGE:
        power = 2.0 - 1.2 * motif.pinch
        return 0.95 - (np.abs(x) ** power + np.abs(y) ** power) ** (1.0 / power)
    if motif.kind is MotifKind.RING:
        width = 0.1 + 0.25 * motif.pinch
        ring = width - np.abs(radius - (0.94 - width))
        return np.maximum(ring, 0.12 + 0.2 * motif.pinch - radius)
    if motif.kind is MotifKind.LINKS:
        width, reach = 0.09 + 0.1 * motif.pinch, 0.5
        left = width - np.abs(np.hypot(x + 0.38, y) - reach)
        return np.maximum(left, width - np.abs(np.hypot(x - 0.38, y) - reach))
    arm = 0.14 + 0.22 * motif.pinch
    bar = np.minimum(0.94 - np.abs(x), arm + 0.16 * np.abs(x) - np.abs(y))
    return np.maximum(bar, np.minimum(0.94 - np.abs(y), arm + 0.16 * np.abs(y) - np.abs(x)))


def _draw_initials(motif: Motif, size_px: int) -> Field:
    """The letters one over the other, half a width apart."""
    cover = np.zeros((size_px, size_px), np.float32)
    for order, sign in enumerate(motif.text):
        drawn = inscribe(sign, (motif.form,), 0.74 * size_px)
        glyph = drawn.cover
        top = (size_px - glyph.shape[0]) // 2
        left = (size_px - glyph.shape[1]) // 2 + round((order - (len(motif.text) - 1) / 2) * 0.3 * size_px)
        _lay_over(cover, glyph, top, left)
    return cover


def _lay_over(cover: Field, glyph: Field, top: int, left: int) -> None:
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + glyph.shape[0], cover.shape[0]), min(left + glyph.shape[1], cover.shape[1])
    target = cover[y0:y1, x0:x1]
    np.maximum(target, glyph[y0 - top : y1 - top, x0 - left : x1 - left], out=target)


@dataclass(frozen=True)
class Lattice:
    """`pitch`: cell size in photo widths; `fill`: the sign's size in cells; `phase`: in cells; `staggered`: every
    second row shifted by half a cell."""

    pitch: float
    fill: float
    angle_deg: float
    staggered: bool
    phase: tuple[float, float]


def pattern_tile(motifs: tuple[Motif, ...], lattice: Lattice, cell_px: int, only: int | None = None) -> Field:
    """One period of the pattern: len(motifs) cells wide, 2 * len(motifs) rows (signs change along both axes).

    `only`: draw that motif alone.
    """
    size = max(6, round(cell_px * lattice.fill))
    count = len(motifs)
    tile = np.zeros((2 * count * cell_px, count * cell_px), np.float32)
    for index, motif in enumerate(motifs):
        if only is not None and only != index:
            continue
        stamp = draw_motif(motif, size)
        for row in range(2 * count):
            column = (index - row // 2 - row % 2 * (count // 2)) % count
            shift = cell_px // 2 if lattice.staggered and row % 2 else 0
            _stamp_wrapped(tile, stamp, (row * 2 + 1) * cell_px // 2, (column * 2 + 1) * cell_px // 2 + shift)
    return tile


def _stamp_wrapped(tile: Field, stamp: Field, centre_y: int, centre_x: int) -> None:
    rows = (np.arange(stamp.shape[0]) + centre_y - stamp.shape[0] // 2) % tile.shape[0]
    columns = (np.arange(stamp.shape[1]) + centre_x - stamp.shape[1] // 2) % tile.shape[1]
    target = np.ix_(rows, columns)
    tile[target] = np.maximum(tile[target], stamp)


def lay_pattern(
    tile: Field | Pixels, cell_px: int, pitch_px: float, angle_deg: float, phase: tuple[float, float], size_px: int
) -> Field:
    """A periodic tile over a square of `size_px`, its cells `pitch_px` apart and turned by `angle_deg`.

    f32; of a u8 tile 0..1, which is faster.
    """
    zoom, turn = cell_px / pitch_px, math.radians(angle_deg)
    a, b = zoom * math.cos(turn), zoom * math.sin(turn)
    reach = math.ceil((abs(a) + abs(b)) * size_px / 2) + 2
    rows, columns = tile.shape
    repeats = math.ceil((2 * reach + rows) / rows), math.ceil((2 * reach + columns) / columns)
    page = Image.fromarray(np.tile(tile, repeats)[: 2 * reach + rows, : 2 * reach + columns])
    middle_x, middle_y = reach + phase[0] * cell_px % columns, reach + phase[1] * cell_px % rows
    half = size_px / 2.0
    matrix = (a, b, middle_x - (a + b) * half, -b, a, middle_y - (a - b) * half)
    laid = page.transform((size_px, size_px), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    field = np.asarray(laid, dtype=np.float32)
    return field * np.float32(1 / 255) if tile.dtype == np.uint8 else field


def lay_motifs(
    motifs: tuple[Motif, ...], lattice: Lattice, scale_px: float, size_px: int, only: int | None = None
) -> Field:
    """Coverage of the pattern over a square of `size_px`, `scale_px` to a photo's width."""
    pitch_px = lattice.pitch * scale_px
    cell_px = max(8, 2 * round(pitch_px / 2))
    tile = in_bytes(pattern_tile(motifs, lattice, cell_px, only))
    return lay_pattern(tile, cell_px, pitch_px, lattice.angle_deg, lattice.phase, size_px)


def widened(mask: Field, radius_px: int) -> Field:
    """A mask grown by about `radius_px`, cheaply: its largest values on a coarse grid."""
    step = max(1, radius_px)
    height, width = mask.shape
    padded = np.pad(mask, ((0, -height % step), (0, -width % step)))
    blocks = padded.reshape(padded.shape[0] // step, step, padded.shape[1] // step, step).max(axis=(1, 3))
    around = np.pad(blocks, 1)
    stacked = [around[i : i + blocks.shape[0], j : j + blocks.shape[1]] for i in range(3) for j in range(3)]
    grown = np.maximum.reduce(stacked)
    return resized(grown, padded.shape[0], padded.shape[1], Image.Resampling.BILINEAR)[:height, :width]
