"""What surfaces are made of: leather, lettering on it, edges and solid shapes."""

from __future__ import annotations

import numpy as np

from assay.synthetic.arrays import Colour, Field, ramp, soft, value_noise
from assay.synthetic.glyphs import Letterform
from assay.synthetic.grain import Grain, Leather, lay_grain
from assay.synthetic.styles import Lettering
from assay.synthetic.surface import ALL, MARGIN, Surface, Window

CAPTION_FORM = Letterform(0.13, 0.0, 0.9, 0.0, 0.0, 0.4, 0.5, 2.2, False)
"""The plain hand of small second lines."""


def lay_leather(
    surface: Surface, leather: Leather, place: np.random.Generator, cover: Field | None = None, zoom: float = 1.0
) -> None:
    """Leather over the surface, or where `cover` is 1. `zoom` 1 as in a close-up; smaller: seen from farther away."""
    tiles = (1.0 + 2 * MARGIN) / zoom
    grain = lay_grain(leather, place, surface.size_px, tiles)
    amplitude = np.float32(leather.depth * 0.17 * zoom / leather.cells)
    tone = 0.9 + 0.1 * grain + 0.035 * value_noise(place, surface.size_px, 5)
    if cover is None:
        surface.height += amplitude * grain
        for channel, value in enumerate(leather.colour):
            surface.albedo[channel] = tone * np.float32(value)
        surface.gloss[:] = leather.gloss
        return
    surface.height += (amplitude * grain) * cover
    surface.paint(cover, leather.colour, leather.gloss)
    surface.tone(1.0 + (tone - 1.0) * cover)


def lay_suede(surface: Surface, colour: Colour, place: np.random.Generator) -> None:
    """A soft dull ground."""
    seed = int(place.integers(64))
    lay_leather(surface, Leather(Grain.SMOOTH, 70, 0.9, colour, 0.0, seed), place)


def placed(surface: Surface, cover: Field, x: float, y: float) -> tuple[Window, Field]:
    """The window in which a drawn `cover` stands when centred at (x, y), and the part of it that is on the surface."""
    height, width = cover.shape
    top = round((y + MARGIN) * surface.scale_px - height / 2)
    left = round((x + MARGIN) * surface.scale_px - width / 2)
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + height, surface.size_px), min(left + width, surface.size_px)
    return (slice(y0, y1), slice(x0, x1)), cover[y0 - top : y1 - top, x0 - left : x1 - left]


def letter(surface: Surface, cover: Field, at: Window, how: Lettering, colour: Colour, depth: float = 0.0035) -> None:
    """Letters where `cover` is 1. `depth`: of a stamp, in photo widths."""
    bed = np.clip(soft(cover, 0.006 * surface.scale_px) * 1.2, 0.0, 1.0)
    if how is Lettering.METAL:
        surface.paint(cover, colour, 0.5, at)
        surface.height[at] += np.float32(1.3 * depth) * bed + np.float32(0.6 * depth) * cover
        np.maximum(surface.metal[at], cover, out=surface.metal[at])
        np.maximum(surface.overhang[at], 0.5 * cover, out=surface.overhang[at])
        return
    surface.height[at] -= np.float32(depth if how is Lettering.BLIND else 0.6 * depth) * bed
    if how is Lettering.BLIND:
        surface.tone(1.0 - 0.42 * cover, at)
        return
    worn = cover * (0.9 if how is Lettering.INK else 0.94)
    surface.paint(worn, colour, 0.12 if how is Lettering.INK else 0.6, at)
    if how is Lettering.FOIL:
        np.maximum(surface.metal[at], 0.7 * cover, out=surface.metal[at])


def rounded_box(x: Field, y: Field, centre: tuple[float, float], half: tuple[float, float], corner: float) -> Field:
    """Signed distance to a rounded box, negative inside."""
    across = np.abs(x - np.float32(centre[0])) - np.float32(half[0] - corner)
    down = np.abs(y - np.float32(centre[1])) - np.float32(half[1] - corner)
    outside = np.hypot(np.maximum(across, 0.0), np.maximum(down, 0.0))
    return outside + np.minimum(np.maximum(across, down), 0.0) - np.float32(corner)


def inside(distance: Field, surface: Surface) -> Field:
    """Coverage of where a signed distance is negative, its edge a pixel wide."""
    return np.clip(0.5 - distance * np.float32(surface.scale_px), 0.0, 1.0)


def pad_edge(surface: Surface, distance: Field, cover: Field, rise: float, radius: float) -> None:
    """Lift what `cover` covers, its edge rolling off over `radius`."""
    profile = ramp(-distance, 0.0, radius)
    surface.height += np.float32(rise) * profile * cover
    surface.tone(1.0 - 0.3 * (1.0 - profile) * cover)


def cord(surface: Surface, distance: Field, radius: float, colour: Colour, gloss: float, at: Window = ALL) -> None:
    """A round cord (piping, a handle) whose middle is where `distance` is 0."""
    share = np.clip(1.0 - (distance * np.float32(1.0 / radius)) ** 2, 0.0, 1.0)
    cover = np.clip((radius - np.abs(distance)) * np.float32(surface.scale_px) + 0.5, 0.0, 1.0)
    surface.paint(cover, colour, gloss, at)
    surface.height[at] += np.float32(radius * 0.9) * np.sqrt(share) * cover
    np.maximum(surface.overhang[at], 0.6 * cover, out=surface.overhang[at])
