"""A leather tab with its stamped code, sewn to the lining."""

from __future__ import annotations

import math

import numpy as np

from assay.synthetic.arrays import Field, dimmed, ramp
from assay.synthetic.glyphs import inscribe, text_width
from assay.synthetic.items import Made
from assay.synthetic.materials import inside, lay_leather, lay_suede, letter, placed, rounded_box
from assay.synthetic.motifs import widened
from assay.synthetic.stitches import Path, lay_stitches, sew
from assay.synthetic.styles import DateCode, Lettering, Tab
from assay.synthetic.surface import Surface

_HALF = (0.41, 0.19)
_SEAM_SIZE = 0.5


def draw_date_code(surface: Surface, made: Made) -> None:
    code = made.style.date_code
    lay_suede(surface, dimmed(made.style.lining.warp, 0.9), made.detail(1))
    distance = _tab_distance(surface, code)
    cover = inside(distance, surface)
    surface.height *= 1.0 - cover
    lay_leather(surface, code.leather, made.detail(2), cover, zoom=0.9)
    surface.height += np.float32(0.016) * ramp(-distance, 0.0, 0.02) * cover
    surface.tone(1.0 - 0.4 * np.clip(1.0 - np.abs(distance + 0.005) * 110.0, 0.0, 1.0) * cover)
    np.maximum(surface.overhang, cover, out=surface.overhang)
    seam = made.intended.stitching.seam
    sew(surface, seam, lay_stitches(seam, _tab_path(code), _SEAM_SIZE, made.detail(3)), _SEAM_SIZE)
    _stamp(surface, made)


def _axes(code: DateCode) -> tuple[float, float]:
    """The tab's half sizes across and down the photo."""
    return _HALF if code.turn_deg == 0.0 else (_HALF[1] + 0.05, _HALF[0])


def _tab_distance(surface: Surface, code: DateCode) -> Field:
    half = _axes(code)
    corner = {Tab.RECTANGLE: 0.015, Tab.ROUNDED: 0.07, Tab.TONGUE: 0.03, Tab.TRAPEZE: 0.03}[code.tab]
    x, y = surface.x, surface.y
    if code.tab is Tab.TRAPEZE:
        x = np.float32(0.5) + (x - np.float32(0.5)) / (1.0 + 0.35 * (y - np.float32(0.5)))
    box = rounded_box(x, y, (0.5, 0.5), half, corner)
    if code.tab is not Tab.TONGUE:
        return box
    return np.minimum(box, np.hypot(x - np.float32(0.5), (y - np.float32(0.5 + half[1])) * 1.4) - np.float32(0.14))


def _tab_path(code: DateCode) -> Path:
    """Around the tab, a little inside its edge."""
    across, down = (size - 0.03 for size in _axes(code))
    if code.tab is Tab.TRAPEZE:
        across -= 0.02
    corners = ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))
    return tuple((0.5 + sx * across, 0.5 + sy * down) for sx, sy in corners)


def _text(code: DateCode, made: Made) -> str:
    """An item's own code in the format given; the k-th sign does not depend on what the others are."""
    rng = made.detail(4)
    letters, digits = rng.integers(len(code.factories), size=16), rng.integers(10, size=16)
    signs = {"L": lambda k: code.factories[int(letters[k])], "D": lambda k: str(int(digits[k]))}
    return "".join(signs[sign](k) if sign in signs else sign for k, sign in enumerate(code.format))


def _lettering(surface: Surface, code: DateCode, made: Made) -> Field:
    text = _text(code, made)
    room = 2 * (_HALF[0] - 0.075)
    cap = min(code.cap, room / text_width(text, code.form))
    cover = inscribe(text, (code.form,) * len(text), cap * surface.scale_px).cover
    return np.ascontiguousarray(np.rot90(cover)) if code.turn_deg == 90.0 else cover


def _stamp(surface: Surface, made: Made) -> None:
    code = made.style.date_code
    place = made.detail(5).uniform(-0.012, 0.012, 2).tolist()
    centre = (0.5 + place[0], 0.5 + place[1])
    cover = _lettering(surface, code, made)
    at, shown = placed(surface, cover, *centre)
    worn = shown * (0.9 + 0.1 * math.sin(made.seed))
    letter(surface, worn, at, code.lettering, code.colour, 0.005 if code.lettering is Lettering.BLIND else 0.003)
    if made.defects:
        for letters in (cover, _lettering(surface, made.intended.date_code, made)):
            at, shown = placed(surface, letters, *centre)
            surface.mark(widened(shown, max(2, round(0.009 * surface.scale_px))) > 0.25, at)
