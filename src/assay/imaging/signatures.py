"""What the first bytes of a file say it is."""

from __future__ import annotations

_AT_THE_START = (
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"GIF8", "a GIF picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"BM", "a BMP picture"),
    (b"8BPS", "a Photoshop picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"%!PS", "an EPS document"),
    (b"\xc5\xd0\xd3\xc6", "an EPS document"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "a ZIP archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"#!", "a script"),
    (b"<?php", "a PHP script"),
)
_TEXT_STARTS = ((b"<svg", "an SVG drawing"), (b"<?xml", "an XML document"), (b"<", "an HTML document"))
_BRANDS = {
    b"heic": "a HEIC picture",
    b"heix": "a HEIC picture",
    b"heif": "a HEIC picture",
    b"hevc": "a HEIC picture",
    b"mif1": "a HEIC picture",
    b"msf1": "a HEIC picture",
    b"avif": "an AVIF picture",
    b"avis": "an AVIF picture",
    b"crx ": "a raw photograph",
}  # ISO/IEC 14496-12, the major brand of the `ftyp` box


def kind_of(content: bytes) -> str:
    """In words for a message: 'a ZIP archive'; 'unknown content' where the first bytes say nothing."""
    head = content[:512]
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "an MP4 video")
    if head[:4] == b"RIFF":
        return "a WebP picture" if head[8:12] == b"WEBP" else "a RIFF file"
    for mark, kind in _AT_THE_START:
        if head.startswith(mark):
            return kind
    text = head.lstrip().lower()
    for mark, kind in _TEXT_STARTS:
        if text.startswith(mark):
            return "an SVG drawing" if b"<svg" in text else kind
    return "text" if _is_text(head) else "unknown content"


def _is_text(head: bytes) -> bool:
    return bool(head) and all(b in (9, 10, 13) or 32 <= b < 127 for b in head)
