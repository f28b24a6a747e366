"""The woven lining with its motif, and the edge of an inner pocket."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from assay.synthetic.arrays import Field, Mask, Pixels, in_bytes, ramp
from assay.synthetic.defects import Defect
from assay.synthetic.items import Made
from assay.synthetic.materials import inside, lay_leather
from assay.synthetic.motifs import lay_motifs, lay_pattern, widened
from assay.synthetic.stitches import lay_stitches, sew
from assay.synthetic.styles import Lining, Weave
from assay.synthetic.surface import Surface

_SEAM_SIZE = 0.55
_TRIM = 0.17

# Rows of a weave's repeat: 1 where the warp lies on top.
_DRAFTS = {
    Weave.PLAIN: ("10", "01"),
    Weave.TWILL: ("1100", "0110", "0011", "1001"),
    Weave.HERRINGBONE: ("11000011", "01100110", "00111100", "10011001", "11000011", "01100110", "00111100", "10011001"),
    Weave.SATIN: ("01111", "11011", "11110", "10111", "11101"),
    Weave.BASKET: ("1100", "1100", "0011", "0011"),
}
_FIGURE = ("10000", "00100", "00001", "01000", "00010")


def draw_lining(surface: Surface, made: Made) -> None:
    lining = made.style.lining
    motif = lay_motifs((lining.motif,), lining.lattice, surface.scale_px, surface.size_px)
    _weave(surface, lining, motif)
    folds = made.detail(1).uniform(0.0, 6.28, 2).tolist()
    surface.height += np.float32(0.012) * np.sin(surface.x * np.float32(5.0) + surface.y * 2.0 + np.float32(folds[0]))
    trimmed = np.zeros_like(surface.height)
    if lining.pocket:
        trimmed = _draw_pocket(surface, made)
    if made.defects:
        _mark(surface, made, motif, trimmed < 0.5)


@lru_cache(maxsize=32)
def _woven(draft: tuple[str, ...], cell_px: int) -> tuple[Pixels, Pixels]:
    """One repeat of a draft, each sign `cell_px` wide and high: heights, and where the warp is on top; u8, 255 is 1."""
    warp = np.array([[float(sign) for sign in row] for row in draft], np.float32)
    rows, columns = warp.shape
    top = np.kron(warp, np.ones((cell_px, cell_px), np.float32))
    axis = (np.arange(cell_px, dtype=np.float32) + 0.5) * (2.0 / cell_px) - 1.0
    round_ = np.sqrt(1.0 - 0.92 * axis * axis)
    arch = 0.75 + 0.25 * np.cos(axis * (np.pi / 2))
    upright = np.tile(round_[None, :] * arch[:, None], (rows, columns))
    level = np.tile(arch[None, :] * round_[:, None], (rows, columns))
    return in_bytes(upright * top + 0.92 * level * (1.0 - top)), in_bytes(top)


def _weave(surface: Surface, lining: Lining, motif: Field) -> None:
    pitch_px = lining.pitch * surface.scale_px
    cell_px = max(4, round(pitch_px))
    ground, figure = _woven(_DRAFTS[lining.weave], cell_px), _woven(_FIGURE, cell_px)

    def laid(tile: Pixels) -> Field:
        return lay_pattern(tile, cell_px, pitch_px, lining.angle_deg, (0.0, 0.0), surface.size_px)

    height, warp = laid(ground[0]), laid(ground[1])
    height = height + (laid(figure[0]) - height) * motif
    warp = warp + (laid(figure[1]) - warp) * motif
    surface.height += np.float32(lining.pitch * 0.3 * lining.thread_relief) * height
    shade = 0.62 + 0.4 * height
    surface.gloss[:] = 0.05 + 0.1 * motif
    for channel in range(3):
        low = np.float32(lining.weft[channel]) + np.float32(lining.figure[channel] - lining.weft[channel]) * motif
        high = np.float32(lining.warp[channel])
        surface.albedo[channel] = (low + (high - low) * warp) * shade


def _draw_pocket(surface: Surface, made: Made) -> Field:
    """A band of trim leather along the top, sewn down."""
    distance = surface.y - np.float32(_TRIM) + 0.0 * surface.x
    cover = inside(distance, surface)
    surface.height *= 1.0 - cover
    lay_leather(surface, made.style.exterior.trim, made.detail(2), cover, zoom=0.8)
    surface.height += np.float32(0.02) * ramp(-distance, 0.0, 0.025) * cover
    np.maximum(surface.overhang, cover, out=surface.overhang)
    seam = made.intended.stitching.seam
    path = ((-0.2, _TRIM - 0.045), (1.2, _TRIM - 0.045))
    sew(surface, seam, lay_stitches(seam, path, _SEAM_SIZE, made.detail(3)), _SEAM_SIZE)
    return cover


def _mark(surface: Surface, made: Made, motif: Field, cloth: Mask) -> None:
    if made.defects != (Defect.LINING_MOTIF,):
        surface.mark(cloth)
        return
    before = made.intended.lining
    plain = lay_motifs((before.motif,), before.lattice, surface.scale_px, surface.size_px)
    both = np.maximum(motif, plain)
    surface.mark((widened(both, max(2, round(0.008 * surface.scale_px))) > 0.3) & cloth)
