"""Letterforms of our own: stroke skeletons swept by an elliptic nib, no font files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from assay.synthetic.arrays import Field

Stroke = tuple[tuple[float, float], ...]
_OVERSAMPLING = 3

# Width in cap heights, then strokes parted by '|'. A step of two numbers is a point, one of six an arc of an ellipse
# (centre, radii, angles from and to in degrees). The box is 0..1 both ways, y downwards.
_SKELETONS = {
    "A": (1.0, "0,1 .5,0 1,1|.2,.62 .8,.62"),
    "B": (0.8, "0,0 0,1|0,0 .5,0 .5,.25,.42,.25,-90,90 0,.5|0,.5 .5,.5 .5,.75,.5,.25,-90,90 0,1"),
    "C": (0.95, ".5,.5,.5,.5,-45,-315"),
    "D": (0.9, "0,0 0,1|0,0 .4,0 .4,.5,.6,.5,-90,90 0,1"),
    "E": (0.72, "0,0 0,1|0,0 1,0|0,.5 .8,.5|0,1 1,1"),
    "F": (0.68, "0,0 0,1|0,0 1,0|0,.5 .75,.5"),
    "G": (1.0, ".5,.5,.5,.5,-45,-360 .6,.5"),
    "H": (0.9, "0,0 0,1|1,0 1,1|0,.5 1,.5"),
    "I": (0.3, ".5,0 .5,1"),
    "J": (0.55, "1,0 1,.7 .5,.7,.5,.3,0,150"),
    "K": (0.85, "0,0 0,1|1,0 0,.58|.3,.42 1,1"),
    "L": (0.68, "0,0 0,1 1,1"),
    "M": (1.1, "0,1 0,0 .5,.8 1,0 1,1"),
    "N": (0.92, "0,1 0,0 1,1 1,0"),
    "O": (1.0, ".5,.5,.5,.5,0,360"),
    "P": (0.75, "0,0 0,1|0,0 .5,0 .5,.27,.5,.27,-90,90 0,.54"),
    "Q": (1.0, ".5,.5,.5,.5,0,360|.6,.7 1,1.05"),
    "R": (0.8, "0,0 0,1|0,0 .5,0 .5,.27,.5,.27,-90,90 0,.54|.45,.54 1,1"),
    "S": (0.75, ".5,.25,.46,.25,-30,-270 .5,.75,.5,.25,-90,150"),
    "T": (0.85, ".5,0 .5,1|0,0 1,0"),
    "U": (0.88, "0,0 0,.6 .5,.6,.5,.4,180,0 1,0"),
    "V": (0.95, "0,0 .5,1 1,0"),
    "W": (1.3, "0,0 .25,1 .5,.15 .75,1 1,0"),
    "X": (0.9, "0,0 1,1|1,0 0,1"),
    "Y": (0.9, "0,0 .5,.52 1,0|.5,.52 .5,1"),
    "Z": (0.82, "0,0 1,0 0,1 1,1"),
    "0": (0.7, ".5,.5,.5,.5,0,360"),
    "1": (0.42, "0,.2 .6,0 .6,1"),
    "2": (0.68, ".5,.28,.5,.28,-170,35 0,1 1,1"),
    "3": (0.68, ".5,.25,.46,.25,-150,90 .5,.75,.5,.25,-90,150"),
    "4": (0.75, ".75,1 .75,0 0,.7 1,.7"),
    "5": (0.68, ".9,0 .15,0 .08,.45 .5,.68,.5,.32,-120,145"),
    "6": (0.7, ".5,.68,.5,.32,0,360|.02,.62 .2,.25 .75,0"),
    "7": (0.68, "0,0 1,0 .35,1"),
    "8": (0.7, ".5,.25,.42,.25,0,360|.5,.75,.5,.25,0,360"),
    "9": (0.7, ".5,.32,.5,.32,0,360|.98,.38 .8,.75 .25,1"),
    "-": (0.45, "0,.55 1,.55"),
    ".": (0.2, ".5,.96 .5,1"),
    "/": (0.6, "0,1 1,0"),
    " ": (0.4, ""),
}
LETTERS = "".join(sign for sign in _SKELETONS if sign.isalpha())


@dataclass(frozen=True)
class Letterform:
    """How a hand of capitals looks; lengths in cap heights."""

    weight: float  # thickness of stems
    contrast: float  # 0: horizontals as thick as stems; 0.75: a quarter of it
    width: float
    slant_deg: float
    serif: float
    tracking: float
    waist: float  # height of what is drawn halfway up, from the top
    squareness: float  # exponent of the bowls' superellipse; 2: ellipse
    rounded: bool  # ends of strokes


@dataclass(frozen=True)
class Inscription:
    """Drawn text: `cover` f32[H, W] in 0..1, and each sign's columns; H is a little more than the cap height."""

    cover: Field
    columns: tuple[tuple[int, int], ...]


@lru_cache(maxsize=512)
def _strokes(sign: str, squareness: float) -> tuple[Stroke, ...]:
    strokes = [stroke for stroke in _SKELETONS[sign][1].split("|") if stroke]
    return tuple(tuple(point for step in stroke.split() for point in _points(step, squareness)) for stroke in strokes)


def _points(step: str, squareness: float) -> list[tuple[float, float]]:
    numbers = [float(number) for number in step.split(",")]
    if len(numbers) == 2:
        return [(numbers[0], numbers[1])]
    cx, cy, rx, ry, start, stop = numbers
    angles = np.radians(np.linspace(start, stop, max(6, int(abs(stop - start) / 9))))
    power = 2.0 / squareness
    x = cx + rx * np.sign(np.cos(angles)) * np.abs(np.cos(angles)) ** power
    y = cy + ry * np.sign(np.sin(angles)) * np.abs(np.sin(angles)) ** power
    return list(zip(x.tolist(), y.tolist(), strict=True))


def sign_width(sign: str, form: Letterform) -> float:
    """Cap heights from the left edge of a sign to its right edge."""
    return _SKELETONS[sign][0] * form.width + form.weight * 0.4


def text_width(text: str, form: Letterform) -> float:
    return sum(sign_width(sign, form) for sign in text) + form.tracking * (len(text) - 1)


def _serifs(stroke: Stroke, half: float) -> list[Stroke]:
    """Short bars at those ends of a stroke that are upright and stand at the cap line or the baseline."""
    bars: list[Stroke] = []
    for (x, y), (before_x, before_y) in ((stroke[0], stroke[1]), (stroke[-1], stroke[-2])):
        if y in (0.0, 1.0) and abs(y - before_y) > 1.2 * abs(x - before_x):
            bars.append(((x - half, y), (x + half, y)))
    return bars


def inscribe(
    text: str, forms: tuple[Letterform, ...], cap_px: float, slots: tuple[Letterform, ...] | None = None
) -> Inscription:
    """`text` in one line, sign k in forms[k], centred where one in slots[k] would stand (None: the same forms).

    A nib of uneven axes is a round one on a stretched page.
    """
    form, slots = forms[0], slots or forms
    stretch = 1.0 / (1.0 - min(max(form.contrast, 0.0), 0.75))
    unit_x, unit_y = cap_px * _OVERSAMPLING, cap_px * _OVERSAMPLING * stretch
    lean = math.tan(math.radians(form.slant_deg))
    pad = 0.25 + abs(lean) * 0.5
    room = sum(sign_width(sign, slot) + slot.tracking for sign, slot in zip(text, slots, strict=True))
    width_px = math.ceil((room - slots[-1].tracking + 2 * pad) * cap_px)
    height_px = math.ceil(1.5 * cap_px)
    page = Image.new("L", (width_px * _OVERSAMPLING, math.ceil(height_px * _OVERSAMPLING * stretch)))
    pen, at, columns = ImageDraw.Draw(page), pad, list[tuple[int, int]]()
    for sign, its, slot in zip(text, forms, slots, strict=True):
        wide = sign_width(sign, slot)
        _draw_sign(pen, sign, its, at + (wide - sign_width(sign, its)) / 2, unit_x, unit_y)
        columns.append((int((at - 0.1) * cap_px), math.ceil((at + wide + 0.1) * cap_px)))
        at += wide + slot.tracking
    cover = np.asarray(page.resize((width_px, height_px), Image.Resampling.BOX), dtype=np.float32) / 255.0
    return Inscription(cover, tuple(columns))


def _draw_sign(pen: ImageDraw.ImageDraw, sign: str, form: Letterform, at: float, unit_x: float, unit_y: float) -> None:
    thin = form.weight * (1.0 - min(max(form.contrast, 0.0), 0.75))
    wide, lean = sign_width(sign, form), math.tan(math.radians(form.slant_deg))
    nib_px = max(1.0, form.weight * unit_x)

    def placed(x: float, y: float) -> tuple[float, float]:
        y = y + 4.0 * (form.waist - 0.5) * y * (1.0 - y)
        page_y = thin / 2 + y * (1.0 - thin)
        return (
            (at + form.weight / 2 + x * (wide - form.weight) + lean * (0.5 - page_y)) * unit_x,
            (page_y + 0.25) * unit_y,
        )

    strokes = _strokes(sign, form.squareness)
    half = form.serif / max(wide - form.weight, 0.1)
    bars = [bar for stroke in strokes for bar in _serifs(stroke, half)] if form.serif > 0 else []
    for bar in bars:
        pen.line([placed(x, y) for x, y in bar], fill=255, width=round(nib_px))
    for stroke in strokes:
        path = [placed(x, y) for x, y in stroke]
        round_ends = form.rounded or stroke[0] == stroke[-1]
        pen.line(path if round_ends else _lengthened(path, nib_px / 2), fill=255, width=round(nib_px), joint="curve")
        if round_ends:
            for x, y in (path[0], path[-1]):
                pen.ellipse((x - nib_px / 2, y - nib_px / 2, x + nib_px / 2, y + nib_px / 2), fill=255)


def _lengthened(path: list[tuple[float, float]], by_px: float) -> list[tuple[float, float]]:
    """A path whose ends reach further, so that square ends meet the edge of the letter's box."""

    def beyond(end: tuple[float, float], before: tuple[float, float]) -> tuple[float, float]:
        share = by_px / max(math.hypot(end[0] - before[0], end[1] - before[1]), 1e-6)
        return (end[0] + (end[0] - before[0]) * share, end[1] + (end[1] - before[1]) * share)

    return [beyond(path[0], path[1]), *path[1:-1], beyond(path[-1], path[-2])]
