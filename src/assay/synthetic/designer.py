"""Designs styles: from a seed to everything about one invented brand's model."""

from __future__ import annotations

import colorsys
from dataclasses import replace
from enum import Enum
from typing import TypeVar

import numpy as np

from assay.synthetic import styles as s
from assay.synthetic.arrays import Colour, between, dimmed, luminance, mixed, stream
from assay.synthetic.glyphs import LETTERS, Letterform, text_width
from assay.synthetic.grain import Grain, Leather
from assay.synthetic.motifs import Lattice, Motif, MotifKind
from assay.synthetic.stitches import Seam, StitchKind

_Choice = TypeVar("_Choice", bound=Enum)

_ONSETS = tuple(
    ["Bal", "Cor", "Dra", "Fel", "Gri", "Hal", "Jov", "Kel", "Lor", "Mar", "Nov", "Or", "Pel", "Quin", "Ros", "Sal", "Tav", "Ul", "Ver", "Wil", "Yor", "Zel", "Ast", "Bre", "Cav", "Est", "Vio", "Mont", "Alb", "Ner"]
)
_MIDDLES = ("a", "e", "i", "o", "an", "el", "er", "in", "or", "ett", "and", "ur")
_CODAS = ("", "ra", "ne", "ti", "lo", "mont", "ve", "do", "lle", "sca", "gne", "x", "ri", "th")
_MODELS = tuple(
    ["Alma", "Bay", "Cleo", "Dune", "Echo", "Fleur", "Gala", "Halo", "Isla", "Joy", "Kite", "Luna", "Mira", "Nord", "Opal", "Pia", "Quay", "Rue", "Siena", "Tess", "Uma", "Vela", "Wren", "Xenia", "Yves", "Zoe"]
)
_CITIES = ("MADE IN LIRONA", "ATELIER BRISSAC", "HANDMADE", "MAISON DE CUIR", "FABRICA VELHA", "NORDHAVN", "VERA PELLE")
_FORMATS = ("LLDDDD", "DDLLDD", "LDDDDL", "LL-DDDD", "DDDD LL", "DDD-DDD", "LDDD.DD", "DDDDDD", "LLDD LD", "DD/DDDD")

# Hue, saturation and value of leathers and cloths, each with how much it may stray.
_HIDES = (
    (0.07, 0.62, 0.42), (0.08, 0.58, 0.66), (0.09, 0.42, 0.8), (0.0, 0.05, 0.13), (0.99, 0.7, 0.5), (0.97, 0.75, 0.33),
    (0.6, 0.55, 0.3), (0.38, 0.45, 0.3), (0.11, 0.16, 0.86), (0.0, 0.02, 0.5), (0.95, 0.28, 0.82), (0.05, 0.75, 0.72),
    (0.55, 0.35, 0.6), (0.78, 0.35, 0.36), (0.12, 0.55, 0.75), (0.48, 0.5, 0.42), (0.64, 0.3, 0.16), (0.06, 0.5, 0.24),
)  # fmt: skip
_METALS: tuple[Colour, ...] = (
    (1.0, 0.82, 0.48), (0.98, 0.88, 0.64), (0.9, 0.91, 0.93), (0.62, 0.63, 0.66), (0.96, 0.74, 0.62), (0.46, 0.46, 0.5),
    (0.86, 0.7, 0.42),
)  # fmt: skip


def _pick(rng: np.random.Generator, kinds: type[_Choice]) -> _Choice:
    members = tuple(kinds)
    return members[int(rng.integers(len(members)))]


def _one_of(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _hide_colour(rng: np.random.Generator) -> Colour:
    hue, saturation, value = _HIDES[int(rng.integers(len(_HIDES)))]
    return colorsys.hsv_to_rgb(
        (hue + between(rng, -0.018, 0.018)) % 1.0,
        min(max(saturation * between(rng, 0.75, 1.2), 0.0), 0.9),
        min(value * between(rng, 0.8, 1.15), 0.92),
    )


def _metal_colour(rng: np.random.Generator) -> Colour:
    return dimmed(_METALS[int(rng.integers(len(_METALS)))], between(rng, 0.9, 1.0))


def _against(rng: np.random.Generator, ground: Colour) -> Colour:
    """A colour that can be told from `ground`."""
    for _ in range(8):
        colour = _hide_colour(rng)
        if abs(luminance(colour) - luminance(ground)) > 0.22:
            return colour
    return mixed(ground, (0.95, 0.9, 0.8), 0.65) if luminance(ground) < 0.5 else dimmed(ground, 0.35)


def _metal_against(rng: np.random.Generator, ground: Colour) -> Colour:
    for _ in range(8):
        metal = _metal_colour(rng)
        if abs(luminance(metal) - luminance(ground)) > 0.28:
            return metal
    return (0.98, 0.88, 0.64) if luminance(ground) < 0.6 else (0.2, 0.2, 0.22)


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
    ground_colour = _hide_colour(rng)
    way = _pick(rng, s.Print)
    tonal = mixed(ground_colour, (1.0, 0.95, 0.85) if luminance(ground_colour) < 0.35 else (0.0, 0.0, 0.0), 0.25)
    ground = replace(_leather(rng, ground_colour), cells=int(rng.integers(44, 70)), depth=between(rng, 0.25, 0.5))
    return s.Exterior(
        ground=ground,
        trim=_leather(rng, _against(rng, ground_colour)),
        ink=tonal if way is s.Print.EMBOSSED else _against(rng, ground_colour),
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
        backdrop=colorsys.hsv_to_rgb(between(rng, 0.0, 1.0), between(rng, 0.0, 0.1), between(rng, 0.72, 0.92)),
    )  # fmt: skip


def _logo(rng: np.random.Generator, brand: str, form: Letterform, colour: Colour) -> s.Logo:
    lettering = _pick(rng, s.Lettering)
    shiny = lettering in (s.Lettering.FOIL, s.Lettering.METAL)
    ink = _metal_against(rng, colour) if shiny else _against(rng, colour)
    return s.Logo(
        leather=_leather(rng, colour),
        forms=(form,) * len(brand),
        lettering=lettering,
        colour=ink,
        cap=min(between(rng, 0.13, 0.2), 0.76 / text_width(brand.upper(), form)),
        subtitle=_one_of(rng, _CITIES) if rng.random() < 0.7 else "",
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
        colour=_against(rng, colour) if rng.random() < 0.75 else mixed(colour, (1.0, 0.95, 0.85), 0.3),
        twist=between(rng, 0.7, 1.3),
        hole=between(rng, 0.85, 1.15),
        row_gap=between(rng, 0.1, 0.16) if kind is StitchKind.DOUBLE else 0.0,
    )
    second = _leather(rng, _against(rng, colour) if rng.random() < 0.5 else colour)
    turn = (0.0, 90.0, 30.0, -30.0, 60.0)[int(rng.integers(5))]
    return s.Stitching(leather, second, seam, _pick(rng, s.SeamLayout), turn, bool(rng.random() < 0.5))


def _hardware(rng: np.random.Generator, form: Letterform, colour: Colour) -> s.Hardware:
    return s.Hardware(
        leather=_leather(rng, colour),
        plate=_pick(rng, s.Plate),
        finish=_pick(rng, s.Finish),
        metal=_metal_colour(rng),
        width=between(rng, 0.6, 0.74),
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
    lettering = (s.Lettering.BLIND, s.Lettering.FOIL, s.Lettering.INK)[int(rng.integers(3))]
    form = _letterform(rng)
    code_format = _one_of(rng, _FORMATS)
    signs = "".join(LETTERS[int(k)] for k in rng.permutation(len(LETTERS))[:6])
    return s.DateCode(
        leather=replace(tab, depth=tab.depth * 0.7),
        lettering=lettering,
        colour=_metal_against(rng, colour) if lettering is s.Lettering.FOIL else _against(rng, colour),
        form=replace(form, weight=min(form.weight, 0.19), tracking=between(rng, 0.14, 0.3)),
        format=code_format,
        factories=signs,
        cap=between(rng, 0.1, 0.135),
        tab=_pick(rng, s.Tab),
        turn_deg=(0.0, 0.0, 0.0, 90.0)[int(rng.integers(4))],
    )


def _lining(rng: np.random.Generator, brand: str, form: Letterform) -> s.Lining:
    warp = _hide_colour(rng)
    return s.Lining(
        weave=_pick(rng, s.Weave),
        pitch=between(rng, 0.021, 0.031),
        angle_deg=(0.0, 0.0, 45.0, 30.0)[int(rng.integers(4))],
        warp=warp,
        weft=mixed(warp, _against(rng, warp), between(rng, 0.1, 0.4)),
        figure=mixed(warp, _against(rng, warp), between(rng, 0.75, 1.0)),
        thread_relief=between(rng, 0.7, 1.1),
        motif=_motifs(rng, brand[:1].upper(), form)[0],
        lattice=Lattice(
            between(rng, 0.24, 0.34), between(rng, 0.5, 0.66), (0.0, 45.0)[int(rng.integers(2))],
            bool(rng.random() < 0.5), (0.0, 0.0),
        ),
        pocket=bool(rng.random() < 0.6),
    )  # fmt: skip


def draw_style(seed: int) -> s.Style:
    """The style that belongs to a seed. Brands and models are invented."""
    rngs = [stream(seed, 7001, part) for part in range(8)]
    brand = ""
    while not 4 <= len(brand) <= 7:
        brand = "".join(_one_of(rngs[0], parts) for parts in (_ONSETS, _MIDDLES, _CODAS))
    model = f"{_one_of(rngs[0], _MODELS)} {int(rngs[0].integers(18, 42))}"
    form = _letterform(rngs[1])
    exterior = _exterior(rngs[2], brand, form)
    body = exterior.trim.colour
    return s.Style(
        brand=brand,
        model=model,
        seed=seed,
        exterior=exterior,
        logo=_logo(rngs[3], brand, form, body if rngs[3].random() < 0.6 else _hide_colour(rngs[3])),
        stitching=_stitching(rngs[4], body),
        hardware=_hardware(rngs[5], form, body if rngs[5].random() < 0.5 else _hide_colour(rngs[5])),
        date_code=_date_code(rngs[6], _hide_colour(rngs[6])),
        lining=_lining(rngs[7], brand, form),
    )
