"""Colours of leathers, cloths and metals."""

from __future__ import annotations

import colorsys

import numpy as np

from assay.synthetic.arrays import Colour, between, dimmed, luminance, mixed

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


def hide_colour(rng: np.random.Generator) -> Colour:
    hue, saturation, value = _HIDES[int(rng.integers(len(_HIDES)))]
    return colorsys.hsv_to_rgb(
        (hue + between(rng, -0.018, 0.018)) % 1.0,
        min(max(saturation * between(rng, 0.75, 1.2), 0.0), 0.9),
        min(value * between(rng, 0.8, 1.15), 0.92),
    )


def metal_colour(rng: np.random.Generator) -> Colour:
    return dimmed(_METALS[int(rng.integers(len(_METALS)))], between(rng, 0.9, 1.0))


def contrasting(rng: np.random.Generator, ground: Colour) -> Colour:
    """A colour that can be told from `ground`."""
    for _ in range(8):
        colour = hide_colour(rng)
        if abs(luminance(colour) - luminance(ground)) > 0.22:
            return colour
    return mixed(ground, (0.95, 0.9, 0.8), 0.65) if luminance(ground) < 0.5 else dimmed(ground, 0.35)


def metal_against(rng: np.random.Generator, ground: Colour) -> Colour:
    for _ in range(8):
        metal = metal_colour(rng)
        if abs(luminance(metal) - luminance(ground)) > 0.28:
            return metal
    return (0.98, 0.88, 0.64) if luminance(ground) < 0.6 else (0.2, 0.2, 0.22)
