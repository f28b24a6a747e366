"""PNG: chunks from IHDR to IEND (W3C PNG, third edition, section 5)."""

from __future__ import annotations

from assay.imaging.anatomy import Anatomy, animated, broken, check_count, cut_short

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ESSENCE = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_EXIF, _ANIMATION = b"eXIf", b"acTL"
_OVERHEAD = 12  # length, kind and checksum


def dissect(content: bytes) -> Anatomy:
    """Raises Refusal UNREADABLE, INVALID, UNSUPPORTED_MEDIA."""
    essence, asides = [SIGNATURE], list[bytes]()
    at, kind, parts = len(SIGNATURE), b"", 0
    while kind != b"IEND":
        end = at + _OVERHEAD + int.from_bytes(content[at : at + 4], "big")
        kind = content[at + 4 : at + 8]
        if at + _OVERHEAD > len(content) or end > len(content):
            raise cut_short("PNG", len(content))
        if not kind.isalpha():
            raise broken("PNG", at + 4, f"a chunk named {kind!r}, expected four letters")
        if kind == _ANIMATION:
            raise animated("PNG")
        if kind in (*_ESSENCE, _EXIF):
            essence.append(content[at:end])
        if kind not in _ESSENCE:
            asides.append(content[at:end])
        at, parts = end, parts + 1
        check_count("PNG", parts)
    header = content[len(SIGNATURE) : len(SIGNATURE) + 16]
    if header[4:8] != b"IHDR":
        raise broken("PNG", len(SIGNATURE), f"a chunk named {header[4:8]!r}, expected IHDR")
    width, height = int.from_bytes(header[8:12], "big"), int.from_bytes(header[12:16], "big")
    return Anatomy("image/png", width, height, b"".join(essence), asides, at)
