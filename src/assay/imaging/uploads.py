"""Reading an upload: refused with a reason, or everything that the later stages need of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image

from assay.errors import Reason, Refusal, invalid
from assay.imaging import jpeg, png, webp
from assay.imaging.anatomy import SAVE_AGAIN, Anatomy
from assay.imaging.signatures import kind_of
from assay.imaging.trailers import check_nothing_hides
from assay.settings import Settings
from assay.vision.lens import SIDE, Pixels
from fusee.base.errors import RequestError
from fusee.images import ImageSteps, Layout, is_lying, load, open_encoded, read_into

WORKING_SIDE = 768  # pixels: the longest side of what quality is measured on
PICTURE_QUALITY = 90  # of the JPEGs shown in reports

_HOW_TO_GET_A_JPEG = (
    "Send a JPEG, PNG or WebP photograph; on an iPhone choose Settings > Camera > Formats > Most Compatible."
)


class Limits(NamedTuple):
    """What one photograph may be."""

    size_bytes: int
    pixels: int

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        return cls(settings.upload_bytes, settings.upload_pixels)


@dataclass(frozen=True)
class Upload:
    """A photograph that was read. All pixels are RGB and upright, on white where the photograph is transparent."""

    media_type: str
    size_bytes: int
    width: int  # pixels of the photograph, upright
    height: int
    sha256: str  # of the bytes as they came, in hex
    pixels: Pixels  # [SIDE, SIDE, 3]: the whole photograph, for the lens
    working: Pixels  # [h, w, 3]: at most WORKING_SIDE along the longest side, never enlarged
    picture: bytes  # JPEG of ``pixels``, without any metadata; the same bytes for the same upload


def read_upload(content: bytes, limits: Limits) -> Upload:
    """Sniffed, taken apart, checked for what hides in it, then decoded once.

    Raises Refusal: INVALID (empty, or more than a photograph), TOO_LARGE (bytes, or pixels as the header tells them),
    UNSUPPORTED_MEDIA (another kind of file, an animation), UNREADABLE (damaged, cut short).
    """
    if not content:
        raise invalid(f"an empty file of 0 bytes; expected a photograph. {_HOW_TO_GET_A_JPEG}")
    if len(content) > limits.size_bytes:
        raise _too_large(f"{len(content)} bytes; at most {limits.size_bytes} bytes are taken")
    anatomy = _dissected(content)
    if anatomy.width * anatomy.height > limits.pixels:
        raise _too_large(f"{anatomy.width} x {anatomy.height} pixels; at most {limits.pixels} pixels are decoded")
    check_nothing_hides(content, anatomy)
    image = _decoded(anatomy, limits)
    try:
        width, height = (anatomy.height, anatomy.width) if is_lying(image) else (anatomy.width, anatomy.height)
        working = _working_pixels(image, width, height)
    except RequestError as err:
        raise _unreadable(anatomy, str(err)) from err
    pixels = np.asarray(Image.fromarray(working).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    sha256 = hashlib.sha256(content).hexdigest()
    return Upload(anatomy.media_type, len(content), width, height, sha256, pixels, working, encode_jpeg(pixels))


def _too_large(found: str) -> Refusal:
    return Refusal(Reason.TOO_LARGE, f"{found}. Send a smaller version of the photo.")


def _dissected(content: bytes) -> Anatomy:
    if content.startswith(b"\xff\xd8\xff"):
        return jpeg.dissect(content)
    if content.startswith(png.SIGNATURE):
        return png.dissect(content)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return webp.dissect(content)
    found = f"{kind_of(content)} of {len(content)} bytes; expected a photograph"
    raise Refusal(Reason.UNSUPPORTED_MEDIA, f"{found}. {_HOW_TO_GET_A_JPEG}")


def _decoded(anatomy: Anatomy, limits: Limits) -> Image.Image:
    """The picture in memory, opaque; a JPEG no finer than the working pixels need."""
    try:
        image = open_encoded(anatomy.essence, limits.pixels)
        finer = min(max(image.size) / WORKING_SIDE, min(image.size) / (2 * SIDE))  # averaging needs pixels to average
        if finer >= 1:
            image.draft("RGB", (int(image.width / finer), int(image.height / finer)))
        load(image)
    except RequestError as err:
        raise _unreadable(anatomy, str(err)) from err
    if image.mode == "P" and image.palette is None:
        raise _unreadable(anatomy, "its colours are numbers of a palette that is missing")
    return _on_white(image) if _is_transparent(image) else image


def _unreadable(anatomy: Anatomy, found: str) -> Refusal:
    picture = f"{anatomy.media_type} of {anatomy.width} x {anatomy.height} pixels"
    return Refusal(Reason.UNREADABLE, f"{picture}: {found}. {SAVE_AGAIN}")


def _is_transparent(image: Image.Image) -> bool:
    return image.has_transparency_data and not image.mode.startswith("I")  # Pillow has no alpha in 16 bits


def _on_white(image: Image.Image) -> Image.Image:
    """As a viewer shows it. What is painted under transparent pixels is arbitrary."""
    white = Image.new("RGB", image.size, "white")
    layer = image if image.mode == "RGBA" else image.convert("RGBA")
    white.paste(layer, mask=layer)
    white.info = {name: value for name, value in image.info.items() if name == "exif"}  # which way is up
    return white


def _working_pixels(image: Image.Image, width: int, height: int) -> Pixels:
    ratio = min(1.0, WORKING_SIDE / max(width, height))
    sides = max(1, round(height * ratio)), max(1, round(width * ratio))
    steps = ImageSteps(*sides, layout=Layout.HWC, dtype=np.dtype(np.uint8))
    working = np.empty(steps.shape, np.uint8)
    read_into(image, steps, working)
    return working


def encode_jpeg(pixels: Pixels, quality: int = PICTURE_QUALITY) -> bytes:
    """u8[h, w, 3] as a JPEG of pixels alone: no EXIF, profile or comment."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()
