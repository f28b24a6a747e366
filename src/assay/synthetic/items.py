"""Physical objects of a style: genuine ones within its tolerance, counterfeits with defects on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from assay.synthetic.arrays import Colour, between, stream
from assay.synthetic.defects import ALTERATIONS, Defect
from assay.synthetic.glyphs import Letterform
from assay.synthetic.grain import Leather
from assay.synthetic.motifs import Lattice
from assay.synthetic.stitches import Seam
from assay.synthetic.styles import Exterior, Hardware, Lining, Style
from assay.views import VIEWS, View

# What a stream of random numbers is for; with an item's seed these keep a defect from moving anything else.
_TOLERANCE, _ALTERATION, _CHOICE, _DETAIL = 1, 2, 3, 4


@dataclass(frozen=True)
class Item:
    """One physical object. `strength` scales how far its defects go beyond tolerance; 1 as described in `Defect`."""

    style: Style
    seed: int
    defects: tuple[Defect, ...] = ()
    strength: float = 1.0


def genuine(style: Style, seed: int) -> Item:
    return Item(style, seed)


def counterfeit(style: Style, seed: int, defects: Sequence[Defect] | None = None, strength: float = 1.0) -> Item:
    """With these defects, or, where None, with one defect in each of one to three views, drawn from the seed."""
    return Item(style, seed, _drawn_defects(seed) if defects is None else tuple(defects), strength)


def _drawn_defects(seed: int) -> tuple[Defect, ...]:
    rng = stream(seed, _CHOICE)
    views = [VIEWS[int(k)] for k in rng.permutation(len(VIEWS))[: int(rng.integers(1, 4))]]
    kinds = [[defect for defect in Defect if defect.view is view] for view in views]
    return tuple(its[int(rng.integers(len(its)))] for its in kinds)


@dataclass(frozen=True)
class Made:
    """How an item came out in one view. `intended`: within tolerance, as a genuine one; `style`: with its defects."""

    intended: Style
    style: Style
    defects: tuple[Defect, ...]
    seed: int

    def detail(self, *keys: int) -> np.random.Generator:
        """Random numbers of the item that no defect moves."""
        return stream(self.seed, _DETAIL, *keys)


def made(item: Item, view: View) -> Made:
    intended = _within_tolerance(item.style, stream(item.seed, _TOLERANCE))
    style, shown = intended, tuple(defect for defect in item.defects if defect.view is view)
    for defect in shown:
        rng = stream(item.seed, _ALTERATION, tuple(Defect).index(defect))
        style = ALTERATIONS[defect](style, rng, item.strength)
    return Made(intended, style, shown, item.seed)


def _tinted(colour: Colour, rng: np.random.Generator) -> Colour:
    level, cast = between(rng, 0.96, 1.04), rng.uniform(-0.012, 0.012, 3).tolist()
    red, green, blue = (min(max(value * level + shift, 0.0), 1.0) for value, shift in zip(colour, cast, strict=True))
    return (red, green, blue)


def _hide(leather: Leather, rng: np.random.Generator) -> Leather:
    return replace(
        leather,
        colour=_tinted(leather.colour, rng),
        depth=leather.depth * between(rng, 0.9, 1.1),
        gloss=leather.gloss * between(rng, 0.9, 1.1),
    )


def _struck(form: Letterform, rng: np.random.Generator) -> Letterform:
    return replace(
        form,
        weight=form.weight * between(rng, 0.965, 1.035),
        tracking=form.tracking + between(rng, -0.01, 0.01),
    )


def _seam(seam: Seam, rng: np.random.Generator) -> Seam:
    return replace(
        seam,
        pitch=seam.pitch * between(rng, 0.985, 1.015),
        angle_deg=seam.angle_deg + between(rng, -1.0, 1.0),
        thickness=seam.thickness * between(rng, 0.97, 1.03),
        colour=_tinted(seam.colour, rng),
    )


def _hardware(hardware: Hardware, rng: np.random.Generator) -> Hardware:
    return replace(
        hardware,
        leather=_hide(hardware.leather, rng),
        metal=_tinted(hardware.metal, rng),
        grain_angle_deg=hardware.grain_angle_deg + between(rng, -2.0, 2.0),
        grain_pitch=hardware.grain_pitch * between(rng, 0.95, 1.05),
        engraving=hardware.engraving * between(rng, 0.93, 1.07),
        form=_struck(hardware.form, rng),
    )


def _lining(lining: Lining, phase: list[float], rng: np.random.Generator) -> Lining:
    return replace(
        lining,
        pitch=lining.pitch * between(rng, 0.985, 1.015),
        warp=_tinted(lining.warp, rng),
        weft=_tinted(lining.weft, rng),
        figure=_tinted(lining.figure, rng),
        angle_deg=lining.angle_deg + between(rng, -1.0, 1.0),
        lattice=replace(
            lining.lattice, pitch=lining.lattice.pitch * between(rng, 0.99, 1.01), phase=(phase[0], phase[1])
        ),
    )


def _exterior(exterior: Exterior, lattice: Lattice, rng: np.random.Generator) -> Exterior:
    ground, trim = _hide(exterior.ground, rng), _hide(exterior.trim, rng)
    return replace(exterior, ground=ground, trim=trim, ink=_tinted(exterior.ink, rng), lattice=lattice)


def _within_tolerance(style: Style, rng: np.random.Generator) -> Style:
    """Everything about an item that varies from one genuine one to the next. The order of draws is part of an item."""
    exterior, logo, stitching, code = style.exterior, style.logo, style.stitching, style.date_code
    phase, lining_phase = rng.uniform(0.0, 2.0, 2).tolist(), rng.uniform(0.0, 2.0, 2).tolist()
    lattice = replace(
        exterior.lattice,
        pitch=exterior.lattice.pitch * between(rng, 0.988, 1.012),
        angle_deg=exterior.lattice.angle_deg + between(rng, -0.8, 0.8),
        phase=(phase[0], phase[1]),
    )
    seam, logo_form = _seam(stitching.seam, rng), _struck(logo.forms[0], rng)
    return replace(
        style,
        exterior=_exterior(exterior, lattice, rng),
        logo=replace(logo, leather=_hide(logo.leather, rng), forms=(logo_form,) * len(logo.forms)),
        stitching=replace(
            stitching, seam=seam, leather=_hide(stitching.leather, rng), second=_hide(stitching.second, rng)
        ),
        hardware=_hardware(style.hardware, rng),
        date_code=replace(code, leather=_hide(code.leather, rng), form=_struck(code.form, rng)),
        lining=_lining(style.lining, lining_phase, rng),
    )
