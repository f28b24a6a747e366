"""The small deformations that tell a counterfeit: what each changes in a style."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum

import numpy as np

from assay.synthetic.arrays import between, either
from assay.synthetic.glyphs import Letterform
from assay.synthetic.motifs import Motif, MotifKind
from assay.synthetic.stitches import StitchKind
from assay.synthetic.styles import Finish, Style
from assay.views import View


class Defect(Enum):
    MONOGRAM_SPACING = "monogram_spacing"
    MONOGRAM_SHAPE = "monogram_shape"
    MONOGRAM_ANGLE = "monogram_angle"
    LOGO_WEIGHT = "logo_weight"
    LOGO_TRACKING = "logo_tracking"
    LOGO_LETTER = "logo_letter"
    STITCH_PITCH = "stitch_pitch"
    STITCH_ANGLE = "stitch_angle"
    THREAD_THICKNESS = "thread_thickness"
    METAL_GRAIN = "metal_grain"
    ENGRAVING_DEPTH = "engraving_depth"
    ENGRAVING_FONT = "engraving_font"
    CODE_FORMAT = "code_format"
    CODE_FONT = "code_font"
    WEAVE_PITCH = "weave_pitch"
    LINING_MOTIF = "lining_motif"

    @property
    def view(self) -> View:
        """The one view in which it shows."""
        return _VIEW_OF[self]


_VIEW_OF = {
    Defect.MONOGRAM_SPACING: View.EXTERIOR,
    Defect.MONOGRAM_SHAPE: View.EXTERIOR,
    Defect.MONOGRAM_ANGLE: View.EXTERIOR,
    Defect.LOGO_WEIGHT: View.LOGO,
    Defect.LOGO_TRACKING: View.LOGO,
    Defect.LOGO_LETTER: View.LOGO,
    Defect.STITCH_PITCH: View.STITCHING,
    Defect.STITCH_ANGLE: View.STITCHING,
    Defect.THREAD_THICKNESS: View.STITCHING,
    Defect.METAL_GRAIN: View.HARDWARE,
    Defect.ENGRAVING_DEPTH: View.HARDWARE,
    Defect.ENGRAVING_FONT: View.HARDWARE,
    Defect.CODE_FORMAT: View.DATE_CODE,
    Defect.CODE_FONT: View.DATE_CODE,
    Defect.WEAVE_PITCH: View.LINING,
    Defect.LINING_MOTIF: View.LINING,
}

Alteration = Callable[[Style, np.random.Generator, float], Style]


def _factor(rng: np.random.Generator, low: float, high: float, strength: float) -> float:
    """1 plus or minus a share in [low, high], times the strength."""
    return max(1.0 + either(rng, low, high) * strength, 0.2)


def _reshaped(motif: Motif, rng: np.random.Generator, strength: float) -> Motif:
    """Another outline: a petal more or fewer, or arms of another depth, or letters of another weight."""
    if motif.kind in (MotifKind.BLOSSOM, MotifKind.STAR):
        arms = motif.arms + (1 if motif.arms < 5 or rng.random() < 0.5 else -1)
        return replace(motif, arms=arms, core=motif.core * (1.0 - 0.4 * strength))
    if motif.kind is MotifKind.INITIALS:
        return replace(motif, form=_other_hand(motif.form, rng, strength))
    deeper = motif.pinch < 0.62
    return replace(motif, pinch=min(max(motif.pinch + (0.4 if deeper else -0.4) * strength, 0.05), 1.2))


def _other_hand(form: Letterform, rng: np.random.Generator, strength: float) -> Letterform:
    """A neighbouring font: serifs come or go, bowls squarer or rounder, letters narrower or wider."""
    return replace(
        form,
        serif=0.0 if form.serif > 0 else 0.14 * strength,
        squareness=form.squareness + (1.3 if form.squareness < 2.6 else -0.9) * strength,
        width=form.width * _factor(rng, 0.09, 0.16, strength),
        weight=form.weight * _factor(rng, 0.12, 0.22, strength),
        waist=form.waist + (0.09 if form.waist < 0.51 else -0.09) * strength,
    )


def _monogram_spacing(style: Style, rng: np.random.Generator, strength: float) -> Style:
    lattice = style.exterior.lattice
    changed = replace(lattice, pitch=lattice.pitch * _factor(rng, 0.09, 0.18, strength))
    return replace(style, exterior=replace(style.exterior, lattice=changed))


def _monogram_shape(style: Style, rng: np.random.Generator, strength: float) -> Style:
    motifs = style.exterior.motifs
    which = int(rng.integers(len(motifs)))
    changed = (*motifs[:which], _reshaped(motifs[which], rng, strength), *motifs[which + 1 :])
    return replace(style, exterior=replace(style.exterior, motifs=changed))


def _monogram_angle(style: Style, rng: np.random.Generator, strength: float) -> Style:
    lattice = style.exterior.lattice
    changed = replace(lattice, angle_deg=lattice.angle_deg + either(rng, 6.0, 12.0) * strength)
    return replace(style, exterior=replace(style.exterior, lattice=changed))


def _logo_weight(style: Style, rng: np.random.Generator, strength: float) -> Style:
    factor = _factor(rng, 0.2, 0.35, strength)
    forms = tuple(replace(form, weight=form.weight * factor) for form in style.logo.forms)
    return replace(style, logo=replace(style.logo, forms=forms))


def _logo_tracking(style: Style, rng: np.random.Generator, strength: float) -> Style:
    shift = between(rng, 0.1, 0.17) * strength
    wider = style.logo.forms[0].tracking < 0.26
    forms = tuple(replace(form, tracking=form.tracking + (shift if wider else -shift)) for form in style.logo.forms)
    return replace(style, logo=replace(style.logo, forms=forms))


def _logo_letter(style: Style, rng: np.random.Generator, strength: float) -> Style:
    forms = list(style.logo.forms)
    shapely = [k for k, sign in enumerate(style.brand.upper()) if sign != "I"]
    which = shapely[int(rng.integers(len(shapely)))]
    form = forms[which]
    forms[which] = replace(
        form,
        width=form.width * (1.0 + 0.24 * strength if form.width < 0.9 else 1.0 - 0.24 * strength),
        waist=form.waist + (0.13 if form.waist < 0.51 else -0.13) * strength,
        slant_deg=form.slant_deg + either(rng, 7.0, 11.0) * strength,
        squareness=form.squareness + (1.4 if form.squareness < 2.6 else -1.0) * strength,
    )
    return replace(style, logo=replace(style.logo, forms=tuple(forms)))


def _stitch_pitch(style: Style, rng: np.random.Generator, strength: float) -> Style:
    seam = style.stitching.seam
    changed = replace(seam, pitch=seam.pitch * _factor(rng, 0.09, 0.2, strength))
    return replace(style, stitching=replace(style.stitching, seam=changed))


def _stitch_angle(style: Style, rng: np.random.Generator, strength: float) -> Style:
    seam = style.stitching.seam
    shift = between(rng, 6.0, 12.0) * strength
    flatter = seam.angle_deg > 14.0 and seam.kind is not StitchKind.CROSS
    changed = replace(seam, angle_deg=seam.angle_deg + (-shift if flatter else shift))
    return replace(style, stitching=replace(style.stitching, seam=changed))


def _thread_thickness(style: Style, rng: np.random.Generator, strength: float) -> Style:
    seam = style.stitching.seam
    changed = replace(seam, thickness=seam.thickness * _factor(rng, 0.22, 0.36, strength))
    return replace(style, stitching=replace(style.stitching, seam=changed))


def _metal_grain(style: Style, rng: np.random.Generator, strength: float) -> Style:
    hardware = style.hardware
    turned = hardware.finish in (Finish.BRUSHED, Finish.SATIN)
    coarser = between(rng, 0.55, 0.95) if turned else between(rng, 0.8, 1.2)
    changed = replace(
        hardware,
        grain_angle_deg=hardware.grain_angle_deg + (either(rng, 12.0, 24.0) * strength if turned else 0.0),
        grain_pitch=hardware.grain_pitch * (1.0 + coarser * strength),
        grain_slope=hardware.grain_slope * (1.0 + between(rng, 0.5, 0.9) * strength),
    )
    return replace(style, hardware=changed)


def _engraving_depth(style: Style, rng: np.random.Generator, strength: float) -> Style:
    factor = 1.0 + 1.1 * strength if rng.random() < 0.5 else 1.0 - 0.65 * strength
    return replace(style, hardware=replace(style.hardware, engraving=style.hardware.engraving * max(factor, 0.0)))


def _engraving_font(style: Style, rng: np.random.Generator, strength: float) -> Style:
    form = _other_hand(style.hardware.form, rng, strength)
    return replace(style, hardware=replace(style.hardware, form=form))


def _code_format(style: Style, rng: np.random.Generator, strength: float) -> Style:
    """Letters and digits change places, or a separator comes or goes; a matter of kind, so without strength."""
    signs = style.date_code.format
    plain = "".join(sign for sign in signs if sign in "LD")
    if rng.random() < 0.4:
        changed = plain if plain != signs else f"{signs[:3]}-{signs[3:]}"
    else:
        changed = signs.translate({ord("L"): "D", ord("D"): "L"}) if "L" in signs else f"L{plain[1:-1]}L"
    return replace(style, date_code=replace(style.date_code, format=changed))


def _code_font(style: Style, rng: np.random.Generator, strength: float) -> Style:
    form = _other_hand(style.date_code.form, rng, strength)
    return replace(style, date_code=replace(style.date_code, form=form))


def _weave_pitch(style: Style, rng: np.random.Generator, strength: float) -> Style:
    lining = style.lining
    return replace(style, lining=replace(lining, pitch=lining.pitch * _factor(rng, 0.14, 0.26, strength)))


def _lining_motif(style: Style, rng: np.random.Generator, strength: float) -> Style:
    return replace(style, lining=replace(style.lining, motif=_reshaped(style.lining.motif, rng, strength)))


ALTERATIONS: dict[Defect, Alteration] = {
    Defect.MONOGRAM_SPACING: _monogram_spacing,
    Defect.MONOGRAM_SHAPE: _monogram_shape,
    Defect.MONOGRAM_ANGLE: _monogram_angle,
    Defect.LOGO_WEIGHT: _logo_weight,
    Defect.LOGO_TRACKING: _logo_tracking,
    Defect.LOGO_LETTER: _logo_letter,
    Defect.STITCH_PITCH: _stitch_pitch,
    Defect.STITCH_ANGLE: _stitch_angle,
    Defect.THREAD_THICKNESS: _thread_thickness,
    Defect.METAL_GRAIN: _metal_grain,
    Defect.ENGRAVING_DEPTH: _engraving_depth,
    Defect.ENGRAVING_FONT: _engraving_font,
    Defect.CODE_FORMAT: _code_format,
    Defect.CODE_FONT: _code_font,
    Defect.WEAVE_PITCH: _weave_pitch,
    Defect.LINING_MOTIF: _lining_motif,
}
