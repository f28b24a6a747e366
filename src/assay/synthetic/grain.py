"""Leather grain: periodic height tiles of band-limited noise, laid at each item's own place."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assay.synthetic.arrays import Field, ramp, resized, stream

_TILE_PX, _HIDES = 512, 16


class Grain(Enum):
    PEBBLED = "pebbled"
    SMOOTH = "smooth"
    SAFFIANO = "saffiano"
    RIDGED = "ridged"
    CAVIAR = "caviar"


@dataclass(frozen=True)
class Leather:
    """`cells`: features across the photo's width; `depth`: slope of the grain; `seed`: which hide."""

    grain: Grain
    cells: int
    depth: float
    colour: tuple[float, float, float]
    gloss: float
    seed: int


@lru_cache(maxsize=1)
def _radii() -> Field:
    """How many waves across the tile each coefficient of its spectrum stands for."""
    fy, fx = np.fft.fftfreq(_TILE_PX, 1 / _TILE_PX), np.fft.rfftfreq(_TILE_PX, 1 / _TILE_PX)
    return np.hypot(fx[None, :], fy[:, None]).astype(np.float32)


@lru_cache(maxsize=_HIDES)
def _spectrum(hide: int) -> NDArray[np.complex64]:
    """Of white noise; there are few, as the place on the hide differs from item to item anyway."""
    white = stream(hide, 17).standard_normal((_TILE_PX, _TILE_PX), dtype=np.float32)
    return np.fft.rfft2(white).astype(np.complex64)


def band_noise(seed: int, cells: float, share: float) -> Field:
    """Periodic noise of unit variance, its wavelengths around 1/cells of the tile; `share`: relative bandwidth."""
    off = (_radii() - np.float32(cells)) * np.float32(1.0 / (share * cells))
    field = np.fft.irfft2(_spectrum(seed % _HIDES) * np.exp(-0.5 * off * off), s=(_TILE_PX, _TILE_PX))
    return (field / field.std()).astype(np.float32)


@lru_cache(maxsize=64)
def _common_noise(seed: int, cells: int) -> Field:
    """The noise that many tiles are finished with."""
    return band_noise(seed, cells, 0.4)


@lru_cache(maxsize=32)
def grain_tile(grain: Grain, cells: int, seed: int) -> Field:
    """f32[512, 512] in about 0..1, periodic; wavelength 1/cells."""
    axis = np.arange(_TILE_PX, dtype=np.float32) * np.float32(2 * np.pi / _TILE_PX)
    x, y = axis[None, :], axis[:, None]
    fine = _common_noise(seed % 4, min(cells * 26 // 120 * 12, 180))
    if grain is Grain.PEBBLED:
        creases = np.minimum(*(np.abs(band_noise(seed + k, cells * 0.5, 0.3)) for k in range(2)))
        return np.sqrt(np.minimum(creases * 1.7, 1.0)) + 0.06 * fine
    if grain is Grain.SMOOTH:
        return 0.5 + 0.12 * band_noise(seed, cells, 0.5) + 0.08 * fine
    bend = _common_noise(seed % 4, max(cells // 6, 3))
    if grain is Grain.SAFFIANO:
        waves = np.float32(cells * 7 // 10)
        rising, falling = np.sin(waves * (x + y) + 0.3 * bend), np.sin(waves * (x - y) - 0.3 * bend)
        return np.maximum(ramp(rising, -0.2, 0.8), ramp(falling, 0.1, 1.0)) * (0.85 + 0.08 * fine)
    if grain is Grain.RIDGED:
        return ramp(np.sin(cells * y + 0.9 * bend), -0.7, 0.7) * 0.8 + 0.06 * fine
    return _caviar(cells, x, y, bend) + 0.04 * fine


def _caviar(cells: int, x: Field, y: Field, bend: Field) -> Field:
    """Round beads, close packed: three waves that cross, of whole numbers across the tile so that it repeats."""
    half, up = np.float32(cells // 2), np.float32(cells * 866 // 1000)
    waves = np.cos(cells * x + 0.5 * bend) + np.cos(half * x + up * y - 0.5 * bend)
    waves = waves + np.cos(half * x - up * y + 0.4 * bend)
    return np.sqrt(np.clip((waves + 1.2) / 4.0, 0.0, 1.0))


@lru_cache(maxsize=32)
def _shrunk_tile(grain: Grain, cells: int, seed: int) -> Field:
    return resized(grain_tile(grain, cells, seed), _TILE_PX // 2, _TILE_PX // 2, Image.Resampling.BOX)


def lay_grain(leather: Leather, place: np.random.Generator, size_px: int, tiles: float) -> Field:
    """The grain over a square of `size_px`, across which `tiles` tiles fit, from a place of the hide of its own."""
    drawn = _shrunk_tile if _TILE_PX * tiles > 1.5 * size_px else grain_tile
    tile = drawn(leather.grain, leather.cells, leather.seed)
    tile_px = tile.shape[0]
    across = round(tile_px * tiles)
    row, column = (int(start * tile_px) for start in place.random(2))
    rows, columns = np.arange(row, row + across) % tile_px, np.arange(column, column + across) % tile_px
    return resized(tile[rows].take(columns, axis=1), size_px, size_px, Image.Resampling.BILINEAR)
