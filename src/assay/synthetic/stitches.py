"""Seams: thread laid along a path, with needle holes, twist and the leather that it pulls in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from assay.synthetic.arrays import Colour, Field, ramp
from assay.synthetic.surface import Surface

Path = tuple[tuple[float, float], ...]


class StitchKind(Enum):
    SADDLE = "saddle"
    LOCK = "lock"
    CROSS = "cross"
    DOUBLE = "double"


@dataclass(frozen=True)
class Seam:
    """A style's stitching. Lengths in photo widths of the stitching view; `fill`: thread's share of a pitch."""

    kind: StitchKind
    pitch: float
    angle_deg: float
    thickness: float
    fill: float
    colour: Colour
    twist: float
    hole: float  # radius in thread thicknesses
    row_gap: float  # 0: one row


@dataclass(frozen=True)
class Stitch:
    x: float
    y: float
    direction: float  # radians, of the thread
    length: float


def along(path: Path, pitch: float, first: float) -> list[tuple[float, float, float]]:
    """Points `pitch` apart along a polyline, with its direction in radians."""
    points = np.asarray(path, dtype=np.float64)
    steps = np.diff(points, axis=0)
    lengths = np.hypot(steps[:, 0], steps[:, 1])
    ends = np.concatenate([[0.0], np.cumsum(lengths)])
    places = np.arange(first, ends[-1], pitch)
    xs, ys = np.interp(places, ends, points[:, 0]), np.interp(places, ends, points[:, 1])
    segment = np.clip(np.searchsorted(ends, places, side="right") - 1, 0, len(steps) - 1)
    directions = np.arctan2(steps[segment, 1], steps[segment, 0])
    return list(zip(xs.tolist(), ys.tolist(), directions.tolist(), strict=True))


def lay_stitches(seam: Seam, path: Path, size: float, jitter: np.random.Generator) -> list[Stitch]:
    """The stitches of one row; `size` scales the seam (1 in the stitching view). Jitter: hand and machine tolerance."""
    pitch = seam.pitch * size
    places = along(path, pitch, float(jitter.uniform(0.0, pitch)))
    shake = jitter.standard_normal((len(places), 4)) * (0.022, 0.018, math.radians(0.9), 0.02)
    tilts = (1.0, -1.0) if seam.kind is StitchKind.CROSS else (1.0,)
    return [
        Stitch(
            x + float(noise[0]) * pitch,
            y + float(noise[1]) * pitch,
            direction - tilt * math.radians(seam.angle_deg) + float(noise[2]),
            pitch * seam.fill * (1.0 + float(noise[3])),
        )
        for (x, y, direction), noise in zip(places, shake, strict=True)
        for tilt in tilts
    ]


def sew(surface: Surface, seam: Seam, stitches: list[Stitch], size: float) -> None:
    """Holes first, then the thread over them."""
    radius = seam.thickness * size / 2
    for stitch in stitches:
        _punch(surface, seam, stitch, radius)
    for stitch in stitches:
        _lay_thread(surface, seam, stitch, radius)


def mark_seam(surface: Surface, stitches: list[Stitch], thickness: float) -> None:
    """Tell that the look of these stitches was changed: thread, holes and the rim around."""
    for stitch in stitches:
        reach = stitch.length / 2 + 1.6 * thickness
        at = surface.window(stitch.x - reach, stitch.y - reach, stitch.x + reach, stitch.y + reach)
        a, b = _turned(surface, stitch, at)
        surface.mark(_capsule(a, b, stitch.length / 2) < 1.3 * thickness, at)


def _turned(surface: Surface, stitch: Stitch, at: tuple[slice, slice]) -> tuple[Field, Field]:
    """Coordinates along and across a stitch."""
    x, y = surface.points(at)
    x, y = x - np.float32(stitch.x), y - np.float32(stitch.y)
    c, s = np.float32(math.cos(stitch.direction)), np.float32(math.sin(stitch.direction))
    return x * c + y * s, y * c - x * s


def _capsule(a: Field, b: Field, half: float) -> Field:
    return np.hypot(np.maximum(np.abs(a) - np.float32(half), 0.0), b)


def _punch(surface: Surface, seam: Seam, stitch: Stitch, radius: float) -> None:
    """Needle holes at both ends and the leather pulled in between them."""
    reach = stitch.length / 2 + 4.0 * radius
    at = surface.window(stitch.x - reach, stitch.y - reach, stitch.x + reach, stitch.y + reach)
    a, b = _turned(surface, stitch, at)
    distance = _capsule(a, b, stitch.length / 2 - radius)
    dent = np.clip(1.0 - distance * np.float32(1.0 / (3.6 * radius)), 0.0, 1.0)
    surface.height[at] -= np.float32(0.5 * radius) * dent * dent
    end = np.hypot(np.abs(a) - np.float32(stitch.length / 2), b * np.float32(0.8))
    hole = 1.0 - ramp(end, radius * seam.hole * 0.75, radius * seam.hole * 1.25)
    surface.tone(1.0 - 0.82 * hole, at)
    surface.gloss[at] *= 1.0 - hole


def _lay_thread(surface: Surface, seam: Seam, stitch: Stitch, radius: float) -> None:
    reach = stitch.length / 2 + 1.5 * radius
    at = surface.window(stitch.x - reach, stitch.y - reach, stitch.x + reach, stitch.y + reach)
    if at[0].start >= at[0].stop or at[1].start >= at[1].stop:
        return
    a, b = _turned(surface, stitch, at)
    distance = _capsule(a, b, stitch.length / 2 - radius) * np.float32(1.0 / radius)
    edge = 1.0 / max(radius * surface.scale_px, 1.0)
    cover = 1.0 - ramp(distance, 1.0 - 0.6 * edge, 1.0 + 0.6 * edge)
    bulge = np.sqrt(np.clip(1.0 - distance * distance, 0.0, 1.0))
    strands = np.cos((a * np.float32(seam.twist) + b * 1.3) * np.float32(2 * math.pi / (2.2 * radius)))
    sunk = (a * np.float32(2.0 / stitch.length)) ** 4
    thread = np.float32(radius) * (bulge * (1.05 - 0.55 * sunk) + 0.13 * strands)
    surface.height[at] += (thread - surface.height[at] * 0.5) * cover
    surface.paint(cover, seam.colour, 0.34, at)
    surface.tone(1.0 - cover * (0.14 * (1.0 - strands) + 0.25 * sunk), at)
