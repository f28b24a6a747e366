"""JPEG: segments from SOI to EOI (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from assay.imaging.anatomy import Anatomy, broken, check_count, cut_short

MOST_SCANS = 32
"""Progressive photographs have about 10. Each one is a pass over all pixels, whatever few bytes it takes."""

_EOI, _SOS = 0xD9, 0xDA
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15
_TABLES = {0xC4, 0xCC, 0xDB, 0xDD}  # DHT, DAC, DQT, DRI
_APP0, _APP1, _APP2, _APP14, _COMMENT = 0xE0, 0xE1, 0xE2, 0xEE, 0xFE
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in coded pixels: not a stuffed byte, not a restart
_FILL = re.compile(rb"\xff*")
_EXIF, _MPF = b"Exif\0\0", b"MPF\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_SAYS_VIDEO = re.compile(
    rb"(?:MotionPhoto|MicroVideo)(?:=[\"']|>)\s*1"
)  # Android's motion photo format 1.0, and before


@dataclass
class _Found:
    essence: list[bytes] = field(default_factory=list[bytes])
    asides: list[bytes] = field(default_factory=list[bytes])
    parts: int = 0
    scans: int = 0
    frames: list[bytes] = field(default_factory=list[bytes])  # headers: precision, height, width, ...
    has_exif: bool = False
    has_previews: bool = False
    has_video: bool = False


def dissect(content: bytes, start: int = 0) -> Anatomy:
    """The JPEG that begins at ``start``. Raises Refusal UNREADABLE, INVALID."""
    found = _Found(essence=[b"\xff\xd8"])
    at = start + 2
    while True:
        marker, begin = _marker(content, at)
        if marker == _EOI:
            break
        at = _segment_end(content, marker, begin)
        _sort(found, marker, content[begin + 2 : at])
        if marker == _SOS:
            at = _scan(found, content, at)
        found.parts += 1
        check_count("JPEG", found.parts)
        check_count("JPEG", found.scans, MOST_SCANS, "scans")
    return _anatomy(found, begin)


def _anatomy(found: _Found, end: int) -> Anatomy:
    if len(found.frames) != 1 or not found.scans or len(found.frames[0]) < 5:
        counts = f"{len(found.frames)} frames and {found.scans} scans"
        raise broken("JPEG", end, f"{counts} before its end, expected one whole frame header and its scans")
    height, width = int.from_bytes(found.frames[0][1:3], "big"), int.from_bytes(found.frames[0][3:5], "big")
    essence = b"".join((*found.essence, b"\xff\xd9"))
    return Anatomy("image/jpeg", width, height, essence, found.asides, end, found.has_previews, found.has_video)


def _marker(content: bytes, at: int) -> tuple[int, int]:
    """The marker at a byte, and where what belongs to it begins. 0xFF may be repeated before it."""
    if content[at : at + 1] not in (b"\xff", b""):
        raise broken("JPEG", at, f"0x{content[at]:02x}, expected a marker, 0xff")
    fill = _FILL.match(content, at)
    assert fill is not None
    at = fill.end()
    if at >= len(content):
        raise cut_short("JPEG", len(content))
    return content[at], at + 1


def _segment_end(content: bytes, marker: int, begin: int) -> int:
    if marker < 0xC0 or 0xD0 <= marker < _EOI:
        raise broken("JPEG", begin, f"marker 0xff{marker:02x}, expected a segment")
    length = int.from_bytes(content[begin : begin + 2], "big")
    if begin + max(length, 2) > len(content):
        raise cut_short("JPEG", len(content))
    if length < 2:
        raise broken("JPEG", begin, f"a segment of {length} bytes, expected 2 or more")
    return begin + length


def _sort(found: _Found, marker: int, body: bytes) -> None:
    """A segment to the essence, to the asides, or (EXIF) to both."""
    is_exif = marker == _APP1 and body.startswith(_EXIF) and not found.has_exif
    is_needed = marker in _FRAMES | _TABLES | {_SOS}
    is_colour = (marker == _APP0 and body.startswith(b"JFIF")) or (marker == _APP14 and body.startswith(b"Adobe"))
    if is_needed or is_colour or is_exif:
        found.essence.append(bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body)
    if not is_needed:
        found.asides.append(body)
    found.has_exif |= is_exif
    found.frames += [body] if marker in _FRAMES else []
    found.has_previews |= marker == _APP2 and body.startswith(_MPF)
    found.has_video |= marker == _APP1 and body.startswith(_XMP) and bool(_SAYS_VIDEO.search(body))


def _scan(found: _Found, content: bytes, at: int) -> int:
    """The coded pixels up to the next marker, and where that is."""
    following = _NEXT_MARKER.search(content, at)
    if following is None:
        raise cut_short("JPEG", len(content))
    found.essence.append(content[at : following.start()])
    found.scans += 1
    return following.start()
