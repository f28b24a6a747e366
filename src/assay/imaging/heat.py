"""Heat maps: where a photograph is unlike the references, as a grey picture to keep and as colours over the photo."""

from __future__ import annotations

import hashlib
import zlib
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assay.evidence import HeatMap
from assay.imaging.uploads import encode_jpeg
from assay.vision.lens import SIDE, Floats

_ANCHORS = (
    np.array(  # sRGB from cool to hot; CIE lightness rises in equal steps, so that order shows without colour too
        ((46, 16, 84), (122, 27, 118), (190, 51, 97), (232, 96, 52), (247, 158, 38), (255, 216, 92)), np.float64
    )
)
_MOST_OPACITY = 0.85  # of the hottest: the photograph's own detail still shows through


def heat_map(distance_map: Floats, low: float, high: float) -> HeatMap:
    """Of f32[SIDE, SIDE], or of a coarser square, which is enlarged: grey 0 up to ``low``, 255 from ``high`` on."""
    assert low < high, f"a heat map from {low} to {high} has no range"
    assert np.isfinite(distance_map).all(), "distances are finite numbers"
    enlarged = np.asarray(Image.fromarray(distance_map).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    grey = np.rint(np.clip((enlarged - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    file = BytesIO()
    # After PNG's filters a smooth map has runs and little else that repeats: looking for more takes five times as long.
    Image.fromarray(grey).save(file, "PNG", compress_type=zlib.Z_RLE)
    png = file.getvalue()
    return HeatMap(png, hashlib.sha256(png).hexdigest(), float(low), float(high))


def overlay(picture_jpeg: bytes, heat_map_png: bytes) -> bytes:
    """The map's colours over the photograph as a JPEG: cool places show the photo, hot ones the colour."""
    photo, heat = _opened(picture_jpeg, "JPEG", "RGB"), _opened(heat_map_png, "PNG", "L")
    assert photo.size == heat.size, f"a map of {heat.size} for a picture of {photo.size}"
    coloured = Image.merge("RGB", [heat.point(channel.tolist()) for channel in _colour_table(256).T])
    return encode_jpeg(np.asarray(Image.composite(coloured, photo, heat.point(_opacities()))))


def colours(count: int) -> list[str]:
    """The map's colours from low to high as '#rrggbb', for a legend."""
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in _colour_table(count).tolist()]


def _colour_table(count: int) -> NDArray[np.uint8]:
    """[count, 3], from cool to hot."""
    at = np.linspace(0, len(_ANCHORS) - 1, count)
    columns = [np.interp(at, np.arange(len(_ANCHORS)), column) for column in _ANCHORS.T]
    return np.rint(np.stack(columns, axis=1)).astype(np.uint8)


def _opacities() -> list[int]:
    """Of each grey value, of 255: smooth at both ends (3x² - 2x³)."""
    heat = np.linspace(0, 1, 256)
    return np.rint(255 * _MOST_OPACITY * heat * heat * (3 - 2 * heat)).astype(int).tolist()


def _opened(content: bytes, kind: str, mode: str) -> Image.Image:
    with Image.open(BytesIO(content), formats=[kind]) as image:
        return image.convert(mode)
