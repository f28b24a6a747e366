"""Pictures as tensors: opened safely, turned upright, resized, normalised and laid out in one go.

Both halves may import this room; it knows neither. Needs Pillow (``fusee[cli]`` or ``fusee[serve]``).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import Enum
from io import BytesIO
from math import ceil
from typing import Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from fusee.base.errors import RequestError
from fusee.base.types import F32, Array


class Resize(Enum):
    """How a picture of one shape fills a rectangle of another."""

    STRETCH = "stretch"  # each side by itself
    CROP = "crop"  # the largest middle part of the right shape
    FIT = "fit"  # all of it in the middle, black around it
    LETTERBOX = "letterbox"  # all of it in the middle, grey (114) around it, as detectors are trained


class Interpolation(Enum):
    """Pillow's filters; all but NEAREST average when they shrink."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


class Channels(Enum):
    """What a pixel consists of, in order."""

    RGB = "RGB"
    BGR = "BGR"
    GRAY = "GRAY"


class Layout(Enum):
    """Where a picture's channels lie."""

    CHW = "CHW"
    HWC = "HWC"


Size = tuple[int, int]  # width, height
Box = tuple[float, float, float, float]  # left, top, right, bottom
PADDING = {Resize.FIT: 0, Resize.LETTERBOX: 114}
_FILTERS = {i: Image.Resampling[i.name] for i in Interpolation}
_UPRIGHT = {  # EXIF 2.32, tag 274: what brings the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING = tuple(_UPRIGHT[o] for o in (5, 6, 7, 8))  # swap width and height
_SIGNATURES = {"JPEG": (0, b"\xff\xd8\xff"), "PNG": (0, b"\x89PNG\r\n\x1a\n"), "WEBP": (8, b"WEBP")}
_DAMAGE = (OSError, SyntaxError, ValueError, IndexError, KeyError, TypeError, OverflowError, struct.error, zlib.error)
"""What Pillow's readers raise for damaged files."""
_SPARE = 2  # a JPEG is decoded at no less than this times the wanted size, so that averaging has pixels to average


class ImageTooLarge(RequestError):
    """A picture has more pixels than are decoded."""


@dataclass(frozen=True)
class ImageSteps:
    """How a picture becomes a tensor: ``(pixel * scale - mean) / std`` per channel, pixels being 0 to 255.

    One ``mean`` or ``std`` stands for all channels. ``crop_fraction`` is the part of each side that CROP keeps: 0.875
    is what is often written as resizing to 256 and cropping 224. Types of whole numbers take pixels as they are.
    """

    height: int
    width: int
    resize: Resize = Resize.STRETCH
    interpolation: Interpolation = Interpolation.BILINEAR
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 1 / 255
    channels: Channels = Channels.RGB
    layout: Layout = Layout.CHW
    dtype: np.dtype[Any] = F32.numpy
    crop_fraction: float = 1.0

    def __post_init__(self) -> None:
        count = self.channel_count
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, count):
                raise RequestError(f"{name} has {len(values)} values; expected 1 or {count}, one for each channel")
        if any(s == 0 for s in self.std):
            raise RequestError(f"std is {self.std}: nothing can be divided by 0")
        if self.height < 1 or self.width < 1:
            raise RequestError(f"a picture of {self.height}x{self.width} pixels has none; expected sides of 1 or more")
        if not 0 < self.crop_fraction <= 1:
            raise RequestError(f"crop_fraction is {self.crop_fraction}; expected more than 0 and at most 1")

    @property
    def channel_count(self) -> int:
        return 1 if self.channels is Channels.GRAY else 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one picture."""
        if self.layout is Layout.CHW:
            return self.channel_count, self.height, self.width
        return self.height, self.width, self.channel_count


def picture_layout(shape: tuple[int, ...]) -> tuple[Layout, int, int, int] | None:
    """Layout, channels, height and width of an input whose last three dimensions are a picture's; else None.

    The dimension that is 1 or 3 is that of the channels, the first one when both are.
    """
    picture = shape[-3:]
    if len(picture) < 3:
        return None
    if picture[0] in (1, 3):
        return Layout.CHW, picture[0], picture[1], picture[2]
    if picture[2] in (1, 3):
        return Layout.HWC, picture[2], picture[0], picture[1]
    return None


def open_encoded(content: bytes, most_pixels: int) -> Image.Image:
    """A still JPEG, PNG or WebP picture, its header read and nothing decoded.

    The first bytes choose the one reader that sees the rest. Raises RequestError, ImageTooLarge.
    """
    kinds = [k for k, (at, mark) in _SIGNATURES.items() if content[at : at + len(mark)] == mark]
    if not kinds:
        raise RequestError(f"{len(content)} bytes that are no picture; expected an encoded JPEG, PNG or WebP image")
    try:
        image = Image.open(BytesIO(content), formats=kinds)
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # a photograph beside its preview
    except Image.DecompressionBombError as err:
        raise ImageTooLarge(f"the picture is too large: {err}; at most {most_pixels} pixels are decoded") from err
    except UnidentifiedImageError as err:
        raise RequestError(f"the {kinds[0]} header cannot be read") from err
    except _DAMAGE as err:
        raise RequestError(f"the {kinds[0]} header cannot be read: {err}") from err
    if frames > 1:
        raise RequestError(f"an animation of {frames} pictures; expected a single one")
    check_size(image, most_pixels)
    return image


def check_size(image: Image.Image, most_pixels: int) -> None:
    """Raises ImageTooLarge for more pixels, as the header tells them."""
    if image.width * image.height > most_pixels:
        raise ImageTooLarge(f"the picture has {image.width}x{image.height} pixels; at most {most_pixels} are decoded")


def load(image: Image.Image) -> None:
    """Decode an opened picture. Raises RequestError when the content is damaged or ends early."""
    try:
        image.load()
    except _DAMAGE as err:
        raise RequestError(f"the {image.format or 'picture'} cannot be decoded: {err}") from err


def is_lying(image: Image.Image) -> bool:
    """Whether ``read_into`` turns a decoded picture by a quarter: its width is the upright height.

    Raises RequestError when a PNG's EXIF is damaged.
    """
    try:
        return _turn(image) in _LYING
    except _DAMAGE as err:
        raise RequestError(f"the {image.format or 'picture'} cannot be decoded: {err}") from err


def read_into(image: Image.Image, steps: ImageSteps, picture: Array) -> None:
    """Decode an opened picture and write it into ``picture``, of ``steps.shape`` and ``steps.dtype``.

    Only the pixels that are kept are resized, and a JPEG is decoded no finer than needed. The EXIF orientation is
    applied; one that cannot be read counts as upright. Transparency is dropped, colour profiles are not applied.
    Raises RequestError when the content is damaged or ends early.
    """
    assert picture.shape == steps.shape, (picture.shape, steps.shape)
    try:
        pixels = _resized(image, steps)
    except _DAMAGE as err:
        raise RequestError(f"the {image.format or 'picture'} cannot be decoded: {err}") from err
    by_rows = picture.transpose(1, 2, 0) if steps.layout is Layout.CHW else picture
    if pixels.shape[:2] != by_rows.shape[:2]:
        by_rows = _padded(by_rows, pixels.shape[:2], steps)
    _normalise(pixels, steps, by_rows)


def _resized(image: Image.Image, steps: ImageSteps) -> Array:
    """The pixels that are kept, upright, u8[h, w, channels], before padding."""
    turn = _turn(image)
    target = (steps.height, steps.width) if turn in _LYING else (steps.width, steps.height)
    size, part = _placed(image.size, target, steps)
    mode = "L" if steps.channels is Channels.GRAY else "RGB"
    ratio = _draft(image, mode, size, part)
    part = (part[0] * ratio, part[1] * ratio, part[2] * ratio, part[3] * ratio)
    small = _converted(image, mode).resize(size, _FILTERS[steps.interpolation], box=part)
    pixels = np.asarray(small if turn is None else small.transpose(turn))
    return pixels[:, :, np.newaxis] if mode == "L" else pixels


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What brings the picture upright; None when it is, or does not say."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except _DAMAGE:
        if image.format == "PNG":  # whose pixels are read on the way to what may stand behind them
            raise
        return None
    return _UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def _placed(source: Size, target: Size, steps: ImageSteps) -> tuple[Size, Box]:
    """How large the content becomes, and which part of the source it is."""
    width, height = source
    whole = (0.0, 0.0, float(width), float(height))
    ratios = target[0] / width, target[1] / height
    if steps.resize is Resize.CROP:
        kept = steps.crop_fraction / max(ratios)
        half_x, half_y = min(width, target[0] * kept) / 2, min(height, target[1] * kept) / 2
        return target, (width / 2 - half_x, height / 2 - half_y, width / 2 + half_x, height / 2 + half_y)
    if steps.resize is Resize.STRETCH:
        return target, whole
    ratio = min(ratios)
    return (max(1, round(width * ratio)), max(1, round(height * ratio))), whole


def _draft(image: Image.Image, mode: str, size: Size, part: Box) -> float:
    """Have a JPEG decoded at 1/2, 1/4 or 1/8 where that is fine enough: how many of its pixels one of the source is."""
    finest = [ceil(_SPARE * n * side / kept) for n, side, kept in _sides(image.size, size, part)]
    width = image.width
    drafted = image.draft(mode, (finest[0], finest[1]))
    return drafted[1][2] / width if drafted else 1.0


def _sides(source: Size, size: Size, part: Box) -> tuple[tuple[int, int, float], tuple[int, int, float]]:
    return (source[0], size[0], part[2] - part[0]), (source[1], size[1], part[3] - part[1])


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """In 8 bits a channel: of 16 the high ones, which Pillow would clip."""
    if image.format == "PNG" and image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image if image.mode == mode else image.convert(mode)


def _padded(by_rows: Array, shape: tuple[int, int], steps: ImageSteps) -> Array:
    """The middle of a picture that is filled with padding."""
    grey = np.full((1, 1, steps.channel_count), PADDING[steps.resize], np.uint8)
    _normalise(grey, steps, by_rows)
    top, left = (by_rows.shape[0] - shape[0]) // 2, (by_rows.shape[1] - shape[1]) // 2
    return by_rows[top : top + shape[0], left : left + shape[1]]


def _normalise(pixels: Array, steps: ImageSteps, by_rows: Array) -> None:
    """u8[h, w, channels] into the picture [h, w, channels], whatever its strides."""
    if steps.channels is Channels.BGR:
        pixels = pixels[:, :, ::-1]
    if np.issubdtype(steps.dtype, np.integer):
        by_rows[...] = pixels
        return
    mean, std = np.array(steps.mean, np.float64), np.array(steps.std, np.float64)
    factor, offset = (steps.scale / std).astype(np.float32), (-mean / std).astype(np.float32)
    if steps.dtype == np.float32:
        np.multiply(pixels, factor, out=by_rows)
        np.add(by_rows, offset, out=by_rows)
    else:
        by_rows[...] = pixels * factor + offset  # numpy has no sums of f16 in f32
