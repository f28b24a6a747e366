"""Images as model inputs: decode, resize, normalise, lay out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from fusee.base.errors import RequestError
from fusee.base.types import Array

RESIZE_MODES = ("stretch", "crop", "fit")
MAX_PIXELS = 100_000_000  # larger images are refused before they are decoded


@dataclass(frozen=True)
class ImageOptions:
    """How a picture becomes a tensor: pixels times ``scale``, minus ``mean``, over ``std``, per channel."""

    resize: str = "stretch"  # stretch to the size; crop the middle after scaling; fit inside and pad with black
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 1 / 255
    bgr: bool = False


def read_image(path: Path, shape: tuple[int, ...], dtype: np.dtype[np.generic], options: ImageOptions) -> Array:
    """The picture as a tensor [1,C,H,W], [1,H,W,C], [C,H,W] or [H,W,C]: where C is 1 or 3 tells which.

    Raises RequestError for a file that is no picture, or a shape that is no picture's.
    """
    lead, height, width, channels, channels_first = _picture_shape(shape)
    pixels = _pixels(_resized(_opened(path, channels), (width, height), options.resize), channels, options.bgr)
    if dtype == np.uint8:
        tensor = pixels.astype(np.uint8)
    else:
        tensor = (pixels * np.float32(options.scale) - _row(options.mean)) / _row(options.std)
    tensor = tensor.transpose(2, 0, 1) if channels_first else tensor
    return np.ascontiguousarray(tensor.reshape((*lead, *tensor.shape)).astype(dtype))


def _row(values: tuple[float, ...]) -> Array:
    return np.array(values, np.float32)


def _picture_shape(shape: tuple[int, ...]) -> tuple[tuple[int, ...], int, int, int, bool]:
    lead, picture = shape[:-3], shape[-3:]
    if len(picture) == 3 and all(d == 1 for d in lead):
        if picture[0] in (1, 3):
            return lead, picture[1], picture[2], picture[0], True
        if picture[2] in (1, 3):
            return lead, picture[0], picture[1], picture[2], False
    text = "x".join(map(str, shape))
    raise RequestError(f"an image cannot fill an input of shape {text}; expected [1,3,H,W], [1,H,W,3] or one channel")


def _opened(path: Path, channels: int) -> Image.Image:
    try:
        image = Image.open(path)
        if image.width * image.height > MAX_PIXELS:
            raise RequestError(f"{path}: {image.width}x{image.height} pixels; at most {MAX_PIXELS} are read")
        return image.convert("RGB" if channels == 3 else "L")
    except UnidentifiedImageError:
        raise RequestError(f"{path}: not an image that can be read; expected JPEG, PNG or the like") from None


def _resized(image: Image.Image, size: tuple[int, int], mode: str) -> Image.Image:
    if mode == "stretch":
        return image.resize(size, Image.Resampling.BILINEAR)
    ratios = size[0] / image.width, size[1] / image.height
    ratio = max(ratios) if mode == "crop" else min(ratios)
    scaled = image.resize((round(image.width * ratio), round(image.height * ratio)), Image.Resampling.BILINEAR)
    left, top = (scaled.width - size[0]) // 2, (scaled.height - size[1]) // 2
    return scaled.crop((left, top, left + size[0], top + size[1]))  # outside the picture, crop gives black


def _pixels(image: Image.Image, channels: int, bgr: bool) -> Array:
    pixels = np.asarray(image, np.float32).reshape(image.height, image.width, channels)
    return pixels[:, :, ::-1] if bgr and channels == 3 else pixels
