"""The brand's name on leather: foil, blind stamp, metal letters or ink."""

from __future__ import annotations

import numpy as np

from assay.synthetic.arrays import Field
from assay.synthetic.defects import Defect
from assay.synthetic.glyphs import Inscription, inscribe, text_width
from assay.synthetic.items import Made
from assay.synthetic.materials import CAPTION_FORM, lay_leather, letter, placed, rounded_box
from assay.synthetic.motifs import widened
from assay.synthetic.styles import Lettering, Logo, Style
from assay.synthetic.surface import Surface


def draw_logo(surface: Surface, made: Made) -> None:
    logo = made.style.logo
    lay_leather(surface, logo.leather, made.detail(1))
    shift = made.detail(2).uniform(-0.012, 0.012, 2).tolist()
    x, y = 0.5 + shift[0], (0.46 if logo.subtitle else 0.5) + shift[1]
    drawn, plain = _name(surface, made, made.style), _name(surface, made, made.intended)
    at, cover = placed(surface, drawn.cover, x, y)
    letter(surface, cover, at, logo.lettering, logo.colour)
    _draw_subtitle(surface, logo, x, y)
    if logo.rule:
        _draw_rules(surface, logo, x, y)
    for defect in made.defects:
        _mark(surface, made, defect, (drawn, plain), (x, y))


def _name(surface: Surface, made: Made, style: Style) -> Inscription:
    """The name in one style's letters; they keep their places unless their spacing itself was changed."""
    tracked = Defect.LOGO_TRACKING in made.defects
    slots = (style if tracked else made.intended).logo.forms
    return inscribe(style.brand.upper(), style.logo.forms, style.logo.cap * surface.scale_px, slots)


def _draw_subtitle(surface: Surface, logo: Logo, x: float, y: float) -> None:
    if not logo.subtitle:
        return
    cap = min(0.042, 0.62 / text_width(logo.subtitle, CAPTION_FORM))
    drawn = inscribe(logo.subtitle, (CAPTION_FORM,) * len(logo.subtitle), cap * surface.scale_px)
    at, cover = placed(surface, drawn.cover, x, y + logo.cap * 0.5 + 0.085)
    how = Lettering.FOIL if logo.lettering is Lettering.METAL else logo.lettering
    letter(surface, cover, at, how, logo.colour, 0.002)


def _draw_rules(surface: Surface, logo: Logo, x: float, y: float) -> None:
    """Lines above and below, or a frame around, in the letters' own manner."""
    low = 0.13 if logo.subtitle else 0.06
    half_height = logo.cap / 2 + 0.06 + low / 2
    middle = y + (low - 0.06) / 2
    distance = rounded_box(surface.x, surface.y, (x, middle), (0.43, half_height), 0.02 if logo.rule == 2 else 0.001)
    line = np.clip((0.0035 - np.abs(distance)) * np.float32(surface.scale_px) + 0.5, 0.0, 1.0)
    if logo.rule == 1:
        line = line * (np.abs(surface.x - np.float32(x)) < 0.4)
    how = Lettering.FOIL if logo.lettering is Lettering.METAL else logo.lettering
    letter(surface, line.astype(np.float32), (slice(None), slice(None)), how, logo.colour, 0.002)


def _mark(
    surface: Surface, made: Made, defect: Defect, drawn: tuple[Inscription, Inscription], centre: tuple[float, float]
) -> None:
    for inscription in drawn:
        cover: Field = inscription.cover
        if defect is Defect.LOGO_LETTER:
            before, after = made.intended.logo.forms, made.style.logo.forms
            which = next(k for k, form in enumerate(after) if form.slant_deg != before[k].slant_deg)
            left, right = inscription.columns[which]
            cover = np.zeros_like(cover)
            cover[:, left:right] = inscription.cover[:, left:right]
        at, shown = placed(surface, cover, *centre)
        surface.mark(widened(shown, max(2, round(0.009 * surface.scale_px))) > 0.25, at)
