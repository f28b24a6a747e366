"""Pictures made for tests, and what a picture is by the plain rules."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from fusee.base.types import Array
from fusee.images import Channels, ImageSteps, Interpolation, Layout, Resize


def noise(height: int, width: int, seed: int = 0) -> Array:
    """Smooth random colours: JPEG and small sizes keep most of them."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encoded(pixels: Array | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has one byte of pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def by_the_rules(pixels: Array, steps: ImageSteps) -> Array:
    """The tensor of u8[h, w, 3] step by step: crop, resize, pad, reorder, scale, normalise, lay out."""
    image = Image.fromarray(pixels)
    if steps.channels is Channels.GRAY:
        image = image.convert("L")
    rows = np.asarray(_placed(image, steps), np.float64).reshape(steps.height, steps.width, -1)
    if steps.channels is Channels.BGR:
        rows = rows[:, :, ::-1]
    if steps.dtype != np.uint8:
        rows = (rows * steps.scale - np.array(steps.mean)) / np.array(steps.std)
    return (rows.transpose(2, 0, 1) if steps.layout is Layout.CHW else rows).astype(steps.dtype)


def _placed(image: Image.Image, steps: ImageSteps) -> Image.Image:
    kind = {i: Image.Resampling[i.name] for i in Interpolation}[steps.interpolation]
    size = steps.width, steps.height
    if steps.resize is Resize.STRETCH:
        return image.resize(size, kind)
    if steps.resize is Resize.CROP:
        kept = min(image.width / size[0], image.height / size[1]) * steps.crop_fraction
        x, y, half_x, half_y = image.width / 2, image.height / 2, size[0] * kept / 2, size[1] * kept / 2
        return image.resize(size, kind, box=(x - half_x, y - half_y, x + half_x, y + half_y))
    ratio = min(size[0] / image.width, size[1] / image.height)
    small = image.resize((round(image.width * ratio), round(image.height * ratio)), kind)
    grey = 0 if steps.resize is Resize.FIT else 114
    padded = Image.new(image.mode, size, grey if image.mode == "L" else (grey,) * 3)
    padded.paste(small, ((size[0] - small.width) // 2, (size[1] - small.height) // 2))
    return padded
