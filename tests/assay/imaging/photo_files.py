"""Photographs as cameras and attackers write them."""

from __future__ import annotations

import struct
import zipfile
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from assay.imaging.uploads import Limits

LIMITS = Limits(size_bytes=20 * 1024 * 1024, pixels=50_000_000)
MPF = b"MPF\0II*\0\x08\0\0\0"
XMP = b"http://ns.adobe.com/xap/1.0/\0"


def scene(width: int = 640, height: int = 480, seed: int = 0) -> Image.Image:
    """Smooth random colours with some grain."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 40 + 1, width // 40 + 1, 3), dtype=np.uint8)
    grain = rng.integers(0, 12, (height, width, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    return Image.fromarray(np.minimum(smooth, 243) + grain)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def with_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with one more segment right behind its start."""
    return jpeg[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    """A PNG with more chunks behind its IHDR."""
    return png[:33] + b"".join(chunks) + png[33:]


def png_of(width: int, height: int) -> bytes:
    """One that claims a size and has one byte of pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def archive() -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as writer:
        writer.writestr("index.html", "hello")
    return file.getvalue()


def video() -> bytes:
    """The boxes of an MP4 without anything to play."""

    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body) + 8) + kind + body

    return box(b"ftyp", b"mp42\0\0\0\0mp42isom") + box(b"mdat", bytes(200)) + box(b"moov", box(b"mvhd", bytes(100)))


def samsung_block(*fields: tuple[bytes, bytes]) -> bytes:
    """Named fields and the directory behind them, as Galaxy phones write them."""
    bodies = [struct.pack("<HHI", 0, 0x0A01 + i, len(name)) + name + body for i, (name, body) in enumerate(fields)]
    back, entries = sum(map(len, bodies)), b""
    for i, body in enumerate(bodies):
        entries += struct.pack("<HHII", 0, 0x0A01 + i, back, len(body))
        back -= len(body)
    directory = b"SEFH" + struct.pack("<II", 107, len(bodies)) + entries
    return b"".join(bodies) + directory + struct.pack("<I", len(directory)) + b"SEFT"
