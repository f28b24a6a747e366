"""Seeds, fields and the few array operations that every drawing is made of."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field: TypeAlias = NDArray[np.floating[Any]]
"""A drawn quantity over a grid; float32 throughout, which the types of mixed arithmetic cannot tell."""
Mask: TypeAlias = NDArray[np.bool_]
Pixels: TypeAlias = NDArray[np.uint8]
Colour: TypeAlias = tuple[float, float, float]


def stream(*keys: int) -> np.random.Generator:
    """The random numbers that belong to these keys: the same on every machine, independent of all other keys'."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(keys)))


def between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def either(rng: np.random.Generator, low: float, high: float) -> float:
    """A magnitude in [low, high] of either sign."""
    return between(rng, low, high) * (1.0 if rng.random() < 0.5 else -1.0)


def resized(field: Field, height_px: int, width_px: int, how: Image.Resampling = Image.Resampling.BICUBIC) -> Field:
    return np.asarray(Image.fromarray(field).resize((width_px, height_px), how), dtype=np.float32)


def soft(field: Field, radius_px: float) -> Field:
    """A cheap blur of about `radius_px`: down with an area filter, up with a smooth one."""
    height, width = field.shape
    small = max(4, round(height / max(radius_px, 1.0))), max(4, round(width / max(radius_px, 1.0)))
    return resized(resized(field, *small, Image.Resampling.BOX), height, width)


def in_bytes(field: Field) -> Pixels:
    """0..1 as 0..255."""
    return (np.clip(field, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def value_noise(rng: np.random.Generator, size_px: int, cells_x: int, cells_y: int | None = None) -> Field:
    """Smooth noise of about unit variance: a random lattice of that many cells, interpolated."""
    rows = cells_x if cells_y is None else cells_y
    return resized(rng.standard_normal((rows + 1, cells_x + 1), dtype=np.float32), size_px, size_px)


def ramp(field: Field, low: float, high: float) -> Field:
    """0 below `low`, 1 above `high`, smooth in between."""
    t = np.clip((field - low) * np.float32(1.0 / (high - low)), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def mixed(a: Colour, b: Colour, share: float) -> Colour:
    """`a` with `share` of `b`."""
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


def dimmed(colour: Colour, factor: float) -> Colour:
    return (min(colour[0] * factor, 1.0), min(colour[1] * factor, 1.0), min(colour[2] * factor, 1.0))


def luminance(colour: Colour) -> float:
    return 0.3 * colour[0] + 0.6 * colour[1] + 0.1 * colour[2]
