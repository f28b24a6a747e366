"""What stands behind a picture's end: what phones put there, or a second file that hides.

Phones append three things, each announced inside the picture or by a directory of its own: further JPEGs (previews,
gain maps), a motion photo's video, and Samsung's block of named fields. They are walked through, never decoded, and
stay with the original, which is kept as evidence and never served. Anything else is refused.
"""

from __future__ import annotations

import re
import struct

from assay.errors import Reason, Refusal
from assay.imaging import jpeg
from assay.imaging.anatomy import SAVE_AGAIN, Anatomy, check_count
from assay.imaging.signatures import kind_of

_VIDEO_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"uuid", b"udta", b"meta")
_SAMSUNG_ENTRY = struct.Struct("<4sII")  # kind of field, bytes back from the directory, size
_MOST_SAMSUNG_FIELDS = 256
_MOST_TRAILERS = 16
_PADDING = re.compile(rb"\0*")
_FOREIGN = (
    (b"<?php", "a PHP script"),
    (b"<script", "a script"),
    (b"<html", "an HTML document"),
    (b"<!doctype", "an HTML document"),
    (b"%pdf-", "a PDF document"),
)
_ZIP_END = struct.Struct("<4s4x4xII2x")  # APPNOTE 4.3.16: size of the central directory, its offset
_ZIP_TAIL_BYTES = _ZIP_END.size + 0xFFFF  # the comment behind it is the longest there may be
_BIG_ZIP = 0xFFFFFFFF


def check_nothing_hides(content: bytes, picture: Anatomy) -> None:
    """Raises Refusal INVALID for a second file behind the picture, in its metadata, or around it."""
    trailer = content[picture.end :]
    for aside in (*picture.asides, trailer):
        _check_no_document(aside.lower())
    if _is_archive(content):
        raise _hidden("a ZIP archive", "the file is a picture and")
    stop = _samsung_start(content) if picture.media_type == "image/jpeg" else len(content)
    at = picture.end
    if stop < at:
        raise _hidden("a block that overlaps the picture", f"{len(content) - at} bytes follow the picture's end,")
    parts = 0
    while (at := _padding_end(content, at, stop)) < stop:
        at, parts = _known_part_end(content, at, stop, picture), parts + 1
        check_count("file", parts, _MOST_TRAILERS, "parts behind its picture")


def _known_part_end(content: bytes, at: int, stop: int, picture: Anatomy) -> int:
    if picture.has_previews and content.startswith(b"\xff\xd8\xff", at):
        preview = jpeg.dissect(content, at)
        for aside in preview.asides:
            _check_no_document(aside.lower())
        return preview.end
    if picture.has_video and content.startswith(b"ftyp", at + 4):
        return _video_end(content, at, stop)
    raise _hidden(kind_of(content[at:stop]), f"{stop - at} bytes follow the picture's end, which look like")


def _hidden(kind: str, found: str) -> Refusal:
    return Refusal(Reason.INVALID, f"{found} {kind}; expected a photograph and nothing else. {SAVE_AGAIN}")


def _check_no_document(lowered: bytes) -> None:
    for mark, kind in _FOREIGN:
        if mark in lowered:
            raise _hidden(kind, "what goes with the picture holds")


def _padding_end(content: bytes, at: int, stop: int) -> int:
    """Cameras fill up to a whole block with zeros. A video's first bytes are zeros too, of its first box's size."""
    padding = _PADDING.match(content, at, stop)
    assert padding is not None
    end = padding.end()
    box = content.find(b"ftyp", end, end + 8) - 4
    return box if box >= at else end


def _is_archive(content: bytes) -> bool:
    """Whether a ZIP reader, which starts from the end of a file, finds a directory."""
    tail_start = max(0, len(content) - _ZIP_TAIL_BYTES)
    at = content.find(b"PK\x05\x06", tail_start)
    while at >= 0 and at + _ZIP_END.size <= len(content):
        _, size, _ = _ZIP_END.unpack_from(content, at)
        if size == _BIG_ZIP or content[at - size : at - size + 4] == b"PK\x01\x02":
            return True
        at = content.find(b"PK\x05\x06", at + 1)
    return False


def _samsung_start(content: bytes) -> int:
    """Where Samsung's block begins, as its directory at the end of the file tells; the file's end when there is none.

    Fields, then ``SEFH``, version, count, an entry for each field, the directory's size and ``SEFT``.
    """
    directory = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    if content[-4:] != b"SEFT" or directory < 0 or content[directory : directory + 4] != b"SEFH":
        return len(content)
    count = int.from_bytes(content[directory + 8 : directory + 12], "little")
    first = directory + 12
    if not 0 < count <= _MOST_SAMSUNG_FIELDS or first + count * _SAMSUNG_ENTRY.size != len(content) - 8:
        return len(content)
    entries = _SAMSUNG_ENTRY.iter_unpack(content[first : len(content) - 8])
    fields = sorted((directory - back, size) for _, back, size in entries)
    ends = [*[start for start, _ in fields[1:]], directory]
    is_gapless = all(start + size == end for (start, size), end in zip(fields, ends, strict=True))
    return fields[0][0] if is_gapless else len(content)


def _video_end(content: bytes, at: int, stop: int) -> int:
    """Behind the boxes of a video (ISO/IEC 14496-12, section 4.2). Raises Refusal INVALID for others."""
    boxes = 0
    while at < stop:
        size, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        if kind not in _VIDEO_BOXES:
            return at
        head = 8
        if size == 1:
            size, head = int.from_bytes(content[at + 8 : at + 16], "big"), 16
        if size < head or at + size > stop:
            raise _hidden("a video that is damaged", f"{stop - at} bytes follow the picture's end,")
        at, boxes = at + size, boxes + 1
        check_count("video behind the picture", boxes)
    return at
