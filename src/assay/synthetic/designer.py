"""Designs styles: from a seed to everything about one invented brand's model."""

from __future__ import annotations

import colorsys
from dataclasses import replace
from enum import Enum
from typing import TypeVar

import numpy as np

from assay.synthetic import styles as s
from assay.synthetic.arrays import Colour, between, luminance, mixed, stream
from assay.synthetic.glyphs import LETTERS, Letterform, text_width
from assay.synthetic.grain import Grain, Leather
from assay.synthetic.motifs import Lattice, Motif, MotifKind
from assay.synthetic.names import draw_names, draw_subtitle, one_of
from assay.synthetic.palette import contrasting, hide_colour, metal_against, metal_colour
from assay.synthetic.stitches import Seam, StitchKind

_Choice = TypeVar("_Choice", bound=Enum)

_FORMATS = ("LLDDDD", "DDLLDD", "LDDDDL", "LL-DDDD", "DDDD LL", "DDD-DDD", "LDDD.DD", "DDDDDD", "LLDD LD", "DD/DDDD")


def _pick(rng: np.random.Generator, kinds: type[_Choice]) -> _Choice:
    members = tuple(kinds)
    return members[int(rng.integers(len(members)))]


def _leather(rng: np.random.Generator, colour: Colour) -> Leather:
    return Leather(
        grain=_pick(rng, Grain),
        cells=int(rng.integers(34, 68)),
        depth=between(rng, 0.6, 1.15),
        colour=colour,
        gloss=between(rng, 0.06, 0.3),
        seed=int(rng.integers(2**31)),
    )


def _letterform(rng: np.random.Generator) -> Letterform:
    family = int(rng.integers(5))
    weight = (between(rng, 0.12, 0.19), between(rng, 0.18, 0.24), between(rng, 0.13, 0.18), between(rng, 0.11, 0.15))
    return Letterform(
        weight=(*weight, between(rng, 0.2, 0.27))[family],
        contrast=(between(rng, 0.0, 0.12), between(rng, 0.5, 0.7), between(rng, 0.0, 0.25), 0.0, 0.1)[family],
        width=between(rng, 0.72, 1.12),
        slant_deg=between(rng, 7.0, 14.0) if rng.random() < 0.16 else 0.0,
        serif=(0.0, between(rng, 0.14, 0.22), between(rng, 0.1, 0.2), 0.0, 0.0)[family],
        tracking=between(rng, 0.14, 0.42),
        waist=between(rng, 0.42, 0.6),
        squareness=between(rng, 1.9, 3.4),
        rounded=family == 3 or (family == 4 and rng.random() < 0.5),
    )


def _motif(rng: np.random.Generator, kind: MotifKind, initials: str, form: Letterform) -> Motif:
    outlined = rng.random() < 0.3 and kind in (MotifKind.BLOSSOM, MotifKind.STAR, MotifKind.LOZENGE, MotifKind.CROSS)
    return Motif(
        kind=kind,
        arms=int(rng.integers(4, 8)),
        pinch=between(rng, 0.35, 0.9),
        core=between(rng, 0.14, 0.3) if rng.random() < 0.6 else 0.0,
        turn_deg=(0.0, 45.0, 22.5)[int(rng.integers(3))],
        band=between(rng, 0.13, 0.2) if outlined else 0.0,
        text=initials,
        form=replace(form, weight=max(form.weight, 0.14), contrast=min(form.contrast, 0.5)),
    )


def _motifs(rng: np.random.Generator, initials: str, form: Letterform) -> tuple[Motif, ...]:
    kinds = [kind for kind in MotifKind if kind is not MotifKind.INITIALS]
    order = [kinds[int(k)] for k in rng.permutation(len(kinds))]
    count = int(rng.integers(1, 4))
    chosen = ([MotifKind.INITIALS] if rng.random() < 0.6 else []) + order
    return tuple(_motif(rng, kind, initials, form) for kind in chosen[:count])


def _exterior(rng: np.random.Generator, brand: str, form: Letterform) -> s.Exterior:
    ground_colour = hide_colour(rng)
    way = _pick(rng, s.Print)
    tonal = mixed(ground_colour, (1.0, 0.95, 0.85) if luminance(ground_colour) < 0.35 else (0.0, 0.0, 0.0), 0.36)
    ground = replace(_leather(rng, ground_colour), cells=int(rng.integers(44, 70)), depth=between(rng, 0.25, 0.5))
    return s.Exterior(
        ground=ground,
        trim=_leather(rng, contrasting(rng, ground_colour)),
        ink=tonal if way is s.Print.EMBOSSED else contrasting(rng, ground_colour),
        print=way,
        motifs=_motifs(rng, brand[:2].upper() if rng.random() < 0.6 else brand[:1].upper(), form),
        lattice=Lattice(
            between(rng, 0.088, 0.135), between(rng, 0.56, 0.76), (0.0, 0.0, 45.0, 30.0)[int(rng.integers(4))],
            bool(rng.random() < 0.5), (0.0, 0.0),
        ),
        flap=_pick(rng, s.Flap),
        flap_depth=between(rng, 0.15, 0.27),
        corner=between(rng, 0.04, 0.14),
        taper=between(rng, -0.05, 0.08),
        piping=between(rng, 0.012, 0.026),
        handles=bool(rng.random() < 0.55),
        web=between(rng, 0.05, 0.085) if rng.random() < 0.3 else 0.0,
        web_colours=(contrasting(rng, ground_colour), hide_colour(rng)),
        backdrop=colorsys.hsv_to_rgb(between(rng, 0.0, 1.0), between(rng, 0.0, 0.1), between(rng, 0.72, 0.92)),
    )  # fmt: skip


def _logo(rng: np.random.Generator, brand: str, form: Letterform, colour: Colour) -> s.Logo:
    lettering = _pick(rng, s.Lettering)
    if lettering is s.Lettering.BLIND and luminance(colour) < 0.3:
        lettering = s.Lettering.FOIL
    shiny = lettering in (s.Lettering.FOIL, s.Lettering.METAL)
    ink = metal_against(rng, colour) if shiny else contrasting(rng, colour)
    return s.Logo(
        leather=_leather(rng, colour),
        forms=(form,) * len(brand),
        lettering=lettering,
        colour=ink,
        cap=min(between(rng, 0.13, 0.2), 0.77 / text_width(brand.upper(), form)),
        subtitle=draw_subtitle(rng) if rng.random() < 0.7 else "",
        rule=int(rng.integers(3)),
    )


def _stitching(rng: np.random.Generator, colour: Colour) -> s.Stitching:
    kind = _pick(rng, StitchKind)
    leather = _leather(rng, colour)
    pitch = between(rng, 0.066, 0.1)
    seam = Seam(
        kind=kind,
        pitch=pitch,
        angle_deg={StitchKind.LOCK: between(rng, 0, 4), StitchKind.CROSS: between(rng, 32, 48)}.get(
            kind, between(rng, 9, 24)
        ),
        thickness=between(rng, 0.0155, 0.0215),
        fill=between(rng, 0.72, 0.86),
        colour=contrasting(rng, colour) if rng.random() < 0.75 else mixed(colour, (1.0, 0.95, 0.85), 0.42),
        twist=between(rng, 0.7, 1.3),
        hole=between(rng, 0.85, 1.15),
        row_gap=between(rng, 0.1, 0.16) if kind is StitchKind.DOUBLE else 0.0,
    )
    second = _leather(rng, contrasting(rng, colour) if rng.random() < 0.5 else colour)
    turn = (0.0, 90.0, 30.0, -30.0, 60.0)[int(rng.integers(5))]
    return s.Stitching(leather, second, seam, _pick(rng, s.SeamLayout), turn, bool(rng.random() < 0.5))


def _hardware(rng: np.random.Generator, form: Letterform, colour: Colour) -> s.Hardware:
    return s.Hardware(
        leather=_leather(rng, colour),
        plate=_pick(rng, s.Plate),
        finish=_pick(rng, s.Finish),
        metal=metal_colour(rng),
        width=between(rng, 0.68, 0.84),
        bevel=between(rng, 0.012, 0.03),
        grain_pitch=between(rng, 0.0075, 0.0115),
        grain_angle_deg=(0.0, 90.0, 45.0, -45.0, 15.0)[int(rng.integers(5))],
        grain_slope=between(rng, 0.09, 0.16),
        engraving=between(rng, 0.0045, 0.007),
        form=replace(form, weight=max(form.weight, 0.14), contrast=min(form.contrast, 0.6)),
        screws=bool(rng.random() < 0.6),
    )


def _date_code(rng: np.random.Generator, colour: Colour) -> s.DateCode:
    tab = _leather(rng, colour)
    stamps = (s.Lettering.FOIL, s.Lettering.INK, s.Lettering.BLIND)[: 2 if luminance(colour) < 0.3 else 3]
    lettering = stamps[int(rng.integers(len(stamps)))]
    form = _letterform(rng)
    code_format = one_of(rng, _FORMATS)
    signs = "".join(LETTERS[int(k)] for k in rng.permutation(len(LETTERS))[:6])
    return s.DateCode(
        leather=replace(tab, depth=tab.depth * 0.7),
        lettering=lettering,
        colour=metal_against(rng, colour) if lettering is s.Lettering.FOIL else contrasting(rng, colour),
        form=replace(form, weight=min(form.weight, 0.19), tracking=between(rng, 0.14, 0.3)),
        format=code_format,
        factories=signs,
        cap=between(rng, 0.1, 0.135),
        tab=_pick(rng, s.Tab),
        turn_deg=(0.0, 0.0, 0.0, 90.0)[int(rng.integers(4))],
    )


def _lining(rng: np.random.Generator, brand: str, form: Letterform) -> s.Lining:
    warp = hide_colour(rng)
    motif = _motifs(rng, brand[:1].upper(), form)[0]
    return s.Lining(
        weave=_pick(rng, s.Weave),
        pitch=between(rng, 0.021, 0.031),
        angle_deg=(0.0, 0.0, 45.0, 30.0)[int(rng.integers(4))],
        warp=warp,
        weft=mixed(warp, contrasting(rng, warp), between(rng, 0.1, 0.4)),
        figure=mixed(warp, contrasting(rng, warp), between(rng, 0.75, 1.0)),
        thread_relief=between(rng, 0.7, 1.1),
        motif=replace(motif, band=0.0, form=replace(motif.form, weight=max(motif.form.weight, 0.2), contrast=0.2)),
        lattice=Lattice(
            between(rng, 0.24, 0.34), between(rng, 0.5, 0.66), (0.0, 45.0)[int(rng.integers(2))],
            bool(rng.random() < 0.5), (0.0, 0.0),
        ),
        pocket=bool(rng.random() < 0.6),
    )  # fmt: skip


def draw_style(seed: int) -> s.Style:
    """The style that belongs to a seed. Brands and models are invented."""
    rngs = [stream(seed, 7001, part) for part in range(8)]
    brand, model = draw_names(rngs[0])
    form = _letterform(rngs[1])
    exterior = _exterior(rngs[2], brand, form)
    body = exterior.trim.colour
    return s.Style(
        brand=brand,
        model=model,
        seed=seed,
        exterior=exterior,
        logo=_logo(rngs[3], brand, form, body if rngs[3].random() < 0.6 else hide_colour(rngs[3])),
        stitching=_stitching(rngs[4], body),
        hardware=_hardware(rngs[5], form, body if rngs[5].random() < 0.5 else hide_colour(rngs[5])),
        date_code=_date_code(rngs[6], hide_colour(rngs[6])),
        lining=_lining(rngs[7], brand, form),
    )
