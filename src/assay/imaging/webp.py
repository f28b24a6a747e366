"""WebP: chunks in a RIFF (RFC 9649)."""

from __future__ import annotations

from assay.imaging.anatomy import Anatomy, animated, broken, check_count, cut_short

_ESSENCE = (b"VP8 ", b"VP8L", b"ALPH")
_EXTENDED, _EXIF = b"VP8X", b"EXIF"
_ANIMATION = (b"ANIM", b"ANMF")
_ANIMATION_FLAG, _ICC_AND_XMP_FLAGS = 0x02, 0x24


def dissect(content: bytes) -> Anatomy:
    """Raises Refusal UNREADABLE, INVALID, UNSUPPORTED_MEDIA."""
    end = 8 + int.from_bytes(content[4:8], "little")
    if end > len(content):
        raise cut_short("WebP", len(content))
    essence, asides, at, parts = list[bytes](), list[bytes](), 12, 0
    while at < end:
        kind, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        following = at + 8 + size + size % 2
        if following > end:
            raise broken("WebP", at, f"a chunk of {size} bytes that ends behind the picture")
        _sort(kind, content[at:following], essence, asides)
        at, parts = following, parts + 1
        check_count("WebP", parts)
    if not essence:
        raise broken("WebP", 12, "no picture in it")
    width, height = _size(essence[0])
    body = b"WEBP" + b"".join(essence)
    return Anatomy("image/webp", width, height, b"RIFF" + len(body).to_bytes(4, "little") + body, asides, at)


def _size(chunk: bytes) -> tuple[int, int]:
    """As the first chunk tells it: that of an extended file, or of the picture (RFC 9649, RFC 6386)."""
    body = chunk[8:]
    if chunk[:4] == _EXTENDED:
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if chunk[:4] == b"VP8L":
        packed = int.from_bytes(body[1:5], "little")
        return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF


def _sort(kind: bytes, chunk: bytes, essence: list[bytes], asides: list[bytes]) -> None:
    is_moving = kind == _EXTENDED and bool(chunk[8:9]) and bool(chunk[8] & _ANIMATION_FLAG)
    if is_moving or kind in _ANIMATION:
        raise animated("WebP")
    if kind == _EXTENDED and chunk[8:9]:
        chunk = chunk[:8] + bytes((chunk[8] & ~_ICC_AND_XMP_FLAGS & 0xFF,)) + chunk[9:]
    if kind in (*_ESSENCE, _EXTENDED, _EXIF):
        essence.append(chunk)
    if kind not in _ESSENCE:
        asides.append(chunk)
