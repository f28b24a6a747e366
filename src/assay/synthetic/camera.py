"""Cameras: from a lit surface to a photograph, as hand-held phones take them."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from assay.synthetic.arrays import Field, Mask, Pixels, between, either, ramp, stream
from assay.synthetic.defects import Defect
from assay.synthetic.items import Item, made
from assay.synthetic.scenes import SCENES
from assay.synthetic.surface import MARGIN, Light, Surface, shade
from assay.views import View

_CAMERA = 9
_FAR_DETAIL = 0.6  # a small object is drawn with fewer pixels


class Condition(Enum):
    """How well a photograph was taken; all but GOOD are for the quality gate."""

    GOOD = "good"
    BLURRED = "blurred"
    DARK = "dark"
    BRIGHT = "bright"
    GLARE = "glare"
    FAR = "far"


@dataclass(frozen=True)
class Shot:
    """`pixels` u8[H, W, 3]; `altered` bool[H, W]: where a defect changed the look, as the camera sees it."""

    pixels: Pixels
    altered: Mask
    view: View
    defects: tuple[Defect, ...]


@dataclass(frozen=True)
class Camera:
    """`bend`: perspective, change of scale across the photo; `blur`: radius in photo widths; `noise`: of 255."""

    turn_deg: float
    scale: float
    shift: tuple[float, float]
    bend: tuple[float, float]
    light: Light
    exposure: float
    vignette: float
    blur: float
    noise: float
    glare: tuple[float, float, float]
    quality: int


def photograph(
    item: Item, view: View, camera_seed: int, condition: Condition = Condition.GOOD, size_px: int = 768
) -> Shot:
    """One photo of one view of an item, u8[size_px, size_px, 3]; the same for the same arguments."""
    camera, its = _camera(camera_seed, condition), made(item, view)
    surface = Surface(size_px * (_FAR_DETAIL if condition is Condition.FAR else 1.0))
    SCENES[view](surface, its)
    beyond_px = size_px if condition is Condition.FAR and view is View.EXTERIOR else 0
    lit = np.pad(shade(surface, camera.light), ((beyond_px, beyond_px), (beyond_px, beyond_px), (0, 0)), "edge")
    matrix = _matrix(camera, surface.scale_px, size_px, beyond_px)
    photo = _seen(lit, matrix, size_px, Image.Resampling.BILINEAR)
    if condition is Condition.FAR and not beyond_px:
        photo = _on_table(photo, camera, surface, matrix)
    altered = np.zeros((size_px, size_px), np.bool_)
    if its.defects:
        changed = np.pad(surface.altered.astype(np.uint8), beyond_px)
        altered = np.asarray(_seen(changed, matrix, size_px, Image.Resampling.NEAREST)) > 0
    return Shot(_developed(photo, camera, stream(camera_seed, _CAMERA, 1)), altered, view, its.defects)


def encode(shot: Shot, quality: int = 92) -> bytes:
    """The photo as a JPEG file."""
    return _jpeg(Image.fromarray(shot.pixels), quality)


def _jpeg(photo: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _camera(seed: int, condition: Condition) -> Camera:
    rng = stream(seed, _CAMERA)
    turn, scale = between(rng, -4.0, 4.0), between(rng, 0.95, 1.05)
    shift, bend = rng.uniform(-0.04, 0.04, 2).tolist(), rng.uniform(-0.025, 0.025, 2).tolist()
    light, exposure = _light(rng), between(rng, 0.92, 1.06)
    blur, noise, vignette = between(rng, 0.0002, 0.0009), between(rng, 0.8, 2.6), between(rng, 0.08, 0.3)
    spot, quality = rng.uniform(0.3, 0.7, 2).tolist(), int(rng.integers(86, 96))
    worse = between(rng, 0.0, 1.0)
    dark = condition is Condition.DARK
    factor = {Condition.DARK: 0.1 + 0.1 * worse, Condition.BRIGHT: 2.1 + 0.7 * worse}.get(condition, 1.0)
    return Camera(
        turn_deg=turn,
        scale=scale * (0.36 + 0.1 * worse if condition is Condition.FAR else 1.0),
        shift=(shift[0], shift[1]),
        bend=(bend[0], bend[1]),
        light=light,
        exposure=exposure * factor,
        vignette=vignette,
        blur=0.009 + 0.006 * worse if condition is Condition.BLURRED else blur,
        noise=noise + 3.0 if dark else noise,
        glare=(spot[0], spot[1], 0.2 + 0.08 * worse if condition is Condition.GLARE else 0.0),
        quality=quality,
    )


def _light(rng: np.random.Generator) -> Light:
    """A window or lamp from above, left or right of the middle."""
    azimuth = math.radians(-90.0 + either(rng, 12.0, 50.0))
    height = math.radians(between(rng, 44.0, 60.0))
    warmth = between(rng, -0.045, 0.055)
    return Light(
        towards=(math.cos(azimuth) * math.cos(height), math.sin(azimuth) * math.cos(height), math.sin(height)),
        key=between(rng, 0.8, 0.95),
        ambient=between(rng, 0.36, 0.46),
        tint=(1.0 + warmth, 1.0, 1.0 - warmth),
        falloff=(either(rng, 0.03, 0.16), -between(rng, 0.03, 0.16)),
        phase=between(rng, -0.35, 0.35),
    )


def _seen(picture: Pixels, matrix: tuple[float, ...], size_px: int, how: Image.Resampling) -> Image.Image:
    return Image.fromarray(picture).transform((size_px, size_px), Image.Transform.PERSPECTIVE, matrix, how)


def _matrix(camera: Camera, scale_px: float, size_px: int, beyond_px: int) -> tuple[float, ...]:
    """The eight numbers by which Pillow finds, for each pixel of the photo, its place on the surface.

    `beyond_px`: what was added to the surface on each side.
    """
    turn, zoom = math.radians(camera.turn_deg), 1.0 / camera.scale
    c, s = math.cos(turn) * zoom, math.sin(turn) * zoom
    centred = np.array([[1 / size_px, 0, -0.5], [0, 1 / size_px, -0.5], [0, 0, 1]])
    seen = np.array([[c, -s, camera.shift[0] * zoom], [s, c, camera.shift[1] * zoom], [*camera.bend, 1]])
    middle = (0.5 + MARGIN) * scale_px + beyond_px
    drawn = np.array([[scale_px, 0, middle], [0, scale_px, middle], [0, 0, 1]])
    matrix: NDArray[np.float64] = drawn @ seen @ centred
    return tuple((matrix / matrix[2, 2]).ravel()[:8].tolist())


def _on_table(photo: Image.Image, camera: Camera, surface: Surface, matrix: tuple[float, ...]) -> Image.Image:
    """What is around a piece that fills little of the photo: a table top, and the piece's shadow on it."""
    n = surface.size_px
    piece = Image.fromarray(np.full((n, n), 255, np.uint8))
    there = piece.transform(photo.size, Image.Transform.PERSPECTIVE, matrix, Image.Resampling.BILINEAR)
    shadow = there.filter(ImageFilter.GaussianBlur(photo.size[0] * 0.02))
    axis = np.linspace(0.0, 1.0, photo.size[0], dtype=np.float32)
    level = (0.78 - 0.14 * axis[:, None] + 0.06 * axis[None, :]) * (1.0 - 0.35 * np.asarray(shadow, np.float32) / 255.0)
    tint = np.asarray(camera.light.tint, np.float32) * (205.0, 200.0, 192.0)
    table = Image.fromarray(np.clip(level[:, :, None] * tint, 0.0, 255.0).astype(np.uint8))
    table.paste(photo, (0, 0), there)
    return table


def _developed(photo: Image.Image, camera: Camera, rng: np.random.Generator) -> Pixels:
    """Lens blur, exposure, vignette, glare and sensor noise, then the phone's own JPEG."""
    size_px = photo.size[0]
    photo = _blurred(photo, camera.blur * size_px)
    axis = np.linspace(-1.0, 1.0, size_px, dtype=np.float32)
    radius = axis[None, :] ** 2 + axis[:, None] ** 2
    gain = np.float32(camera.exposure) * (1.0 - np.float32(camera.vignette * 0.5) * radius)
    noise = np.float32(camera.noise) * rng.standard_normal((size_px, size_px), dtype=np.float32)
    added = noise + _glare(axis, camera) if camera.glare[2] > 0 else noise
    rows = np.asarray(photo, np.float32).reshape(size_px, -1)  # three numbers a pixel in long rows: long inner loops
    rows = rows * np.repeat(gain, 3, axis=1) + np.repeat(added, 3, axis=1)
    exposed = Image.fromarray(np.clip(rows, 0.0, 255.0).astype(np.uint8).reshape(size_px, size_px, 3))
    return np.array(Image.open(io.BytesIO(_jpeg(exposed, camera.quality))))


def _blurred(photo: Image.Image, radius_px: float) -> Image.Image:
    """A Gaussian; of less than a pixel by nine taps, which is several times faster."""
    if radius_px > 1.0:
        return photo.filter(ImageFilter.GaussianBlur(radius_px))
    side = math.exp(-0.5 / max(radius_px, 0.1) ** 2)
    row = np.array([side, 1.0, side])
    return photo.filter(ImageFilter.Kernel((3, 3), np.outer(row, row).ravel().tolist()))


def _glare(axis: Field, camera: Camera) -> Field:
    """A lamp's reflection, up to far beyond white."""
    x, y, radius = camera.glare
    distance = np.hypot((axis[None, :] + 1.0) / 2 - np.float32(x), ((axis[:, None] + 1.0) / 2 - np.float32(y)) * 1.3)
    return 420.0 * (1.0 - ramp(distance, 0.35 * radius, 1.5 * radius))
