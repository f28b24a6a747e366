"""Frames of HTTP/2 (RFC 9113, sections 4 and 6): their numbers, and their bytes."""

from __future__ import annotations

from struct import Struct
from typing import Final

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
HAS_PRIORITY: Final = 0x20

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FLOW_CONTROL_ERROR: Final = 0x3
SETTINGS_TIMEOUT: Final = 0x4
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
ENHANCE_YOUR_CALM: Final = 0xB

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES: Final = 9
DEFAULT_WINDOW: Final = 65_535
LARGEST_WINDOW: Final = 2**31 - 1
SMALLEST_MAX_FRAME: Final = 16_384
LARGEST_MAX_FRAME: Final = 2**24 - 1

HEADER: Final = Struct(">HBBBL")  # length, in 16 and 8 bits; type; flags; stream
U32: Final = Struct(">L")
SETTING: Final = Struct(">HL")
_GOAWAY: Final = Struct(">LL")


class ConnectionFault(Exception):
    """The peer broke a rule so that the connection cannot go on."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class StreamFault(Exception):
    """The peer broke a rule of one stream; the others go on."""

    def __init__(self, stream_id: int, code: int, message: str) -> None:
        super().__init__(message)
        self.stream_id = stream_id
        self.code = code
        self.message = message


def frame_header(size_bytes: int, kind: int, flags: int, stream_id: int) -> bytes:
    return HEADER.pack(size_bytes >> 8, size_bytes & 0xFF, kind, flags, stream_id)


def settings(values: dict[int, int]) -> bytes:
    payload = b"".join(SETTING.pack(name, value) for name, value in values.items())
    return frame_header(len(payload), SETTINGS, 0, 0) + payload


SETTINGS_ACK: Final = frame_header(0, SETTINGS, ACK, 0)


def ping(opaque: bytes, flags: int = 0) -> bytes:
    return frame_header(8, PING, flags, 0) + opaque


def window_update(stream_id: int, increment: int) -> bytes:
    return frame_header(4, WINDOW_UPDATE, 0, stream_id) + U32.pack(increment)


def rst_stream(stream_id: int, code: int) -> bytes:
    return frame_header(4, RST_STREAM, 0, stream_id) + U32.pack(code)


def goaway(last_stream_id: int, code: int, message: str = "") -> bytes:
    payload = _GOAWAY.pack(last_stream_id, code) + message.encode()
    return frame_header(len(payload), GOAWAY, 0, 0) + payload


def without_padding(payload: bytes, flags: int, priority_bytes: int = 0) -> bytes:
    """What a padded or prioritised frame holds. Raises ConnectionFault."""
    start = 0
    padding = 0
    if flags & PADDED:
        if not payload:
            raise ConnectionFault(FRAME_SIZE_ERROR, "a padded frame is empty; expected the length of its padding")
        padding, start = payload[0], 1
    start += priority_bytes
    end = len(payload) - padding
    if start > end:
        code = PROTOCOL_ERROR if padding else FRAME_SIZE_ERROR
        raise ConnectionFault(
            code, f"a frame of {len(payload)} bytes has {padding} of padding and {start} before its content"
        )
    return payload[start:end]
