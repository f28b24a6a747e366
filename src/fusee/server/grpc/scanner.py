"""Takes a ModelInferRequest apart without copying its tensors.

Protobuf's own parser copies every ``raw_input_contents``. This one walks over the top level alone: the contents and
the id, which differ between requests, are taken out, and what is left, which a caller repeats, is read by protobuf.
"""

from __future__ import annotations

from typing import NamedTuple

from fusee.server.grpc.stream import Buffer

_LENGTH = 2  # the wire type of strings, bytes and messages
_ID_TAG = 3 << 3 | _LENGTH
_RAW_TAG = 7 << 3 | _LENGTH
_LARGEST_VARINT_BYTES = 5  # of a length below 2^31
MOST_FIELDS = 4096
"""At the top of a message: inputs, outputs, parameters, contents. A field may take two bytes only, and then there is
room for millions of them."""


class Scanned(NamedTuple):
    """A message in parts. ``rest`` is the message without its id and raw contents."""

    rest: bytes
    id: bytes
    raw: list[memoryview]


def scan(message: Buffer) -> Scanned | None:
    """The parts of a message, or None for one that is not made as callers make them: protobuf then decides."""
    view = memoryview(message)
    end = len(view)
    raw: list[memoryview] = []
    kept: list[memoryview] = []
    request_id = b""
    at = kept_from = fields = 0
    while at < end:
        fields += 1
        tag = view[at]
        after = at + 1
        if tag & 0x87 != _LENGTH or after >= end or fields > MOST_FIELDS:  # other wire types, and fields from 16 on
            return None
        size = view[after]
        after += 1
        if size & 0x80:
            size, after = _varint(view, after - 1)
        stop = after + size
        if after == 0 or stop > end:
            return None
        if tag in (_RAW_TAG, _ID_TAG):
            if kept_from < at:
                kept.append(view[kept_from:at])
            kept_from = stop
            if tag == _RAW_TAG:
                raw.append(view[after:stop])
            elif request_id:  # the last one counts, but protobuf looks at all
                return None
            else:
                request_id = bytes(view[after:stop])
        at = stop
    if kept_from < end:
        kept.append(view[kept_from:])
    return Scanned(b"".join(kept), request_id, raw)


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """A length and where it ends; 0 for where when it does not end in time."""
    value = 0
    for place, byte in enumerate(view[at : at + _LARGEST_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * place
        if not byte & 0x80:
            return value, at + place + 1
    return 0, 0


def varint(value: int) -> bytes:
    """A number, 0 or above, as protobuf writes it."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
