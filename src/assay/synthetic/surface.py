"""What is photographed, as fields over a flat square, and the light that falls on it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from assay.synthetic.arrays import Colour, Field, Mask, Pixels, soft

MARGIN = 0.12
"""Photo widths drawn beyond each edge, so that a camera that turns or shifts sees no end."""

Window = tuple[slice, slice]
ALL: Window = (slice(None), slice(None))


@dataclass(frozen=True)
class Light:
    """`towards`: unit vector to the key light, x right, y down, z to the camera; colours multiply."""

    towards: tuple[float, float, float]
    key: float
    ambient: float
    tint: Colour
    falloff: tuple[float, float]
    phase: float


def _zeros(size_px: int) -> Field:
    return np.zeros((size_px, size_px), np.float32)


@dataclass
class Surface:
    """A square that is drawn on. `scale_px` pixels to a photo's width; all fields f32[n, n], albedo f32[3, n, n].

    height: photo widths; gloss, metal, overhang (parts that stand off and cast shadows) in 0..1; altered: what a
    defect changed; x f32[1, n] and y f32[n, 1]: places in photo widths.
    """

    scale_px: float
    albedo: Field = field(init=False)
    height: Field = field(init=False)
    gloss: Field = field(init=False)
    metal: Field = field(init=False)
    overhang: Field = field(init=False)
    altered: Mask = field(init=False)
    x: Field = field(init=False)
    y: Field = field(init=False)

    def __post_init__(self) -> None:
        n = round(self.scale_px * (1 + 2 * MARGIN))
        self.albedo = np.zeros((3, n, n), np.float32)
        self.height, self.gloss, self.metal, self.overhang = _zeros(n), _zeros(n), _zeros(n), _zeros(n)
        self.altered = np.zeros((n, n), np.bool_)
        axis = (np.arange(n, dtype=np.float32) + np.float32(0.5)) / np.float32(self.scale_px) - np.float32(MARGIN)
        self.x, self.y = axis[None, :], axis[:, None]

    @property
    def size_px(self) -> int:
        return self.height.shape[0]

    def window(self, left: float, top: float, right: float, bottom: float) -> Window:
        """The rows and columns of a box in photo widths, cut to the surface."""

        def cut(low: float, high: float) -> slice:
            start = min(max(math.floor((low + MARGIN) * self.scale_px), 0), self.size_px)
            stop = min(max(math.ceil((high + MARGIN) * self.scale_px), start), self.size_px)
            return slice(start, stop)

        return cut(top, bottom), cut(left, right)

    def points(self, at: Window) -> tuple[Field, Field]:
        """x f32[1, w] and y f32[h, 1] of a window."""
        return self.x[:, at[1]], self.y[at[0]]

    def paint(self, cover: Field, colour: Colour, gloss: float | None = None, at: Window = ALL) -> None:
        """Lay a colour (and gloss) over where `cover` is 1."""
        rest = 1.0 - cover
        for channel, value in enumerate(colour):
            plane = self.albedo[channel][at]
            np.multiply(plane, rest, out=plane)
            plane += cover * np.float32(value)
        if gloss is not None:
            plane = self.gloss[at]
            plane += (np.float32(gloss) - plane) * cover

    def tone(self, factor: Field, at: Window = ALL) -> None:
        """Multiply all colours."""
        for channel in range(3):
            plane = self.albedo[channel][at]
            plane *= factor

    def mark(self, where: Mask, at: Window = ALL) -> None:
        self.altered[at] |= where


def shade(surface: Surface, light: Light) -> Pixels:
    """The lit surface, u8[n, n, 3]: Lambert and Blinn-Phong over the heights' slopes, creases darker, shadows soft."""
    lx, ly, lz = light.towards
    slope_y, slope_x = np.gradient(surface.height, np.float32(1.0 / surface.scale_px))
    steep = 1.0 / np.sqrt(slope_x * slope_x + slope_y * slope_y + 1.0)
    diffuse = np.clip((lz - slope_x * np.float32(lx) - slope_y * np.float32(ly)) * steep, 0.0, None)
    half = 1.0 / math.sqrt(lx * lx + ly * ly + (lz + 1) ** 2)
    shine = np.clip(
        (lz + 1 - slope_x * np.float32(lx) - slope_y * np.float32(ly)) * steep * np.float32(half), 0.0, None
    )
    for _ in range(5):
        shine *= shine
    crease = np.clip(1.0 + (surface.height - soft(surface.height, 0.02 * surface.scale_px)) * 45.0, 0.55, 1.12)
    lit = (np.float32(light.ambient) + np.float32(light.key) * diffuse * _unshaded(surface, light)) * crease
    lit *= 1.0 + np.float32(light.falloff[0]) * (surface.x - 0.5) + np.float32(light.falloff[1]) * (surface.y - 0.5)
    shine *= surface.gloss * np.float32(light.key)
    if surface.metal.any():
        _reflect(surface, light, lit, slope_x * steep, slope_y * steep)
    picture = np.empty((*surface.height.shape, 3), np.uint8)
    for channel in range(3):
        plane = surface.albedo[channel] * lit + shine
        plane *= np.float32(255.0 * light.tint[channel])
        picture[:, :, channel] = np.clip(plane, 0.0, 255.0)
    return picture


def _unshaded(surface: Surface, light: Light) -> Field:
    """1 in the light, less in the soft shadow of what stands off."""
    if not surface.overhang.any():
        return np.ones((1, 1), np.float32)
    reach = 0.02 * surface.scale_px
    shift = (round(-light.towards[1] * reach), round(-light.towards[0] * reach))
    near = soft(np.roll(surface.overhang, shift, (0, 1)), 0.012 * surface.scale_px)
    far = soft(np.roll(surface.overhang, (2 * shift[0], 2 * shift[1]), (0, 1)), 0.04 * surface.scale_px)
    return 1.0 - (1.0 - surface.overhang) * (0.42 * near + 0.38 * far)


def _reflect(surface: Surface, light: Light, lit: Field, tilt_x: Field, tilt_y: Field) -> None:
    """Where there is metal, put into `lit` how bright the room is that it mirrors.

    The room is a soft box over a dark floor, swept by the surface's tilt.
    """
    rows, columns = np.flatnonzero(surface.metal.any(axis=1)), np.flatnonzero(surface.metal.any(axis=0))
    at = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    x, y = surface.points(at)
    across = np.float32(light.towards[0]) * tilt_x[at] + np.float32(light.towards[1]) * tilt_y[at]
    sweep = -2.8 * across + 1.5 * (x * 0.7 + y - 0.85) + np.float32(light.phase)
    room = 0.5 + 0.5 * np.cos(sweep * np.float32(2.2))
    glint = np.clip(1.0 - np.abs(across + 0.25) * 3.0, 0.0, 1.0)
    mirrored = np.float32(light.key) * (0.3 + 0.75 * room * room + 0.35 * glint * glint)
    lit[at] += (mirrored - lit[at]) * surface.metal[at]
