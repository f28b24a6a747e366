"""Cuts the bytes of a connection into frames (RFC 9113, sections 3.4 and 4)."""

from __future__ import annotations

from typing import Protocol

from fusee.server.grpc.frames import (
    CONTINUATION,
    DATA,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADER,
    HEADER_BYTES,
    HEADERS,
    PADDED,
    PREFACE,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    SETTINGS,
    ConnectionFault,
    without_padding,
)
from fusee.server.grpc.stream import Buffer, Stream

MAX_FRAME = 1024 * 1024  # as our settings say
_CONTROL_BYTES = 16_384  # of a settings frame or a goodbye
_NO_FRAMES = b""


class Receiver(Protocol):
    """What frames are handed to. Any of these raises ConnectionFault."""

    def charge(self, stream_id: int, size_bytes: int) -> Stream | None:
        """A DATA frame begins: the stream that takes it, or None when nobody wants it any more."""
        ...

    def take(self, stream: Stream, piece: Buffer, is_last: bool) -> None:
        """A part of that frame; the last of the stream or not."""
        ...

    def frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Any other frame of a known type."""
        ...


class FrameReader:
    """Takes bytes as they come. DATA is passed on before its frame is complete, everything else after."""

    __slots__ = ("_header_bytes", "_is_greeted", "_left_bytes", "_left_is_last", "_left_stream", "_receiver", "_rest")

    def __init__(self, receiver: Receiver, header_bytes: int) -> None:
        self._receiver = receiver
        self._header_bytes = header_bytes
        self._rest = _NO_FRAMES  # received, and less than a frame
        self._is_greeted = False
        self._left_bytes = 0  # to come of a DATA frame, or of one of an unknown type
        self._left_stream: Stream | None = None
        self._left_is_last = False

    def feed(self, received: bytes) -> None:
        """Raises ConnectionFault."""
        if self._rest:
            received = self._rest + received
            self._rest = _NO_FRAMES
        at = 0
        if self._left_bytes:
            at = self._pass_on(received, 0)
        elif not self._is_greeted:
            at = self._greet(received)
        end = len(received)
        while end - at >= HEADER_BYTES and (after := self._frame(received, at, end)):
            at = after
        if at < end:
            self._rest = received[at:]

    def _greet(self, received: bytes) -> int:
        if not PREFACE.startswith(received[: len(PREFACE)]):
            raise ConnectionFault(PROTOCOL_ERROR, "the connection does not begin with HTTP/2's preface")
        if len(received) < len(PREFACE):
            return 0
        self._is_greeted = True
        return len(PREFACE)

    def _frame(self, received: bytes, at: int, end: int) -> int:
        """Hand on the frame that begins there; where it ends, or 0 when it is not complete."""
        if not self._is_greeted:
            return 0
        high, low, kind, flags, stream_id = HEADER.unpack_from(received, at)
        size_bytes = high << 8 | low
        stream_id &= 0x7FFFFFFF
        start = at + HEADER_BYTES
        stop = start + size_bytes
        if kind == DATA and not flags & PADDED:
            self._check_size(kind, size_bytes)
            stream = self._receiver.charge(stream_id, size_bytes)
            if stop > end:
                return self._begin(stream, size_bytes, flags & END_STREAM != 0, received, start)
            if stream is not None:
                self._receiver.take(stream, memoryview(received)[start:stop], flags & END_STREAM != 0)
            return stop
        self._check_size(kind, size_bytes)
        if kind > CONTINUATION:
            return self._begin(None, size_bytes, False, received, start)
        if stop > end:
            return 0
        payload = received[start:stop]
        if kind == DATA:
            self._padded(flags, stream_id, payload)
        else:
            self._receiver.frame(kind, flags, stream_id, payload)
        return stop

    def _padded(self, flags: int, stream_id: int, payload: bytes) -> None:
        content = without_padding(payload, flags)
        stream = self._receiver.charge(stream_id, len(payload))
        if stream is not None:
            self._receiver.take(stream, content, flags & END_STREAM != 0)

    def _begin(self, stream: Stream | None, size_bytes: int, is_last: bool, received: bytes, start: int) -> int:
        self._left_bytes = size_bytes
        self._left_stream = stream
        self._left_is_last = is_last
        return self._pass_on(received, start)

    def _pass_on(self, received: bytes, at: int) -> int:
        """Hand on what is here of a frame that is taken in pieces; where that ends."""
        stop = min(len(received), at + self._left_bytes)
        self._left_bytes -= stop - at
        stream = self._left_stream
        if stream is not None and stop > at:
            self._receiver.take(stream, memoryview(received)[at:stop], self._left_is_last and not self._left_bytes)
        return stop

    def _check_size(self, kind: int, size_bytes: int) -> None:
        if size_bytes > MAX_FRAME:
            raise ConnectionFault(FRAME_SIZE_ERROR, f"a frame of {size_bytes} bytes; up to {MAX_FRAME} are taken")
        if kind in (HEADERS, CONTINUATION) and size_bytes > self._header_bytes + 256:
            raise ConnectionFault(
                ENHANCE_YOUR_CALM, f"{size_bytes} bytes of headers; up to {self._header_bytes} are taken"
            )
        if kind in (SETTINGS, GOAWAY, PUSH_PROMISE) and size_bytes > _CONTROL_BYTES:
            raise ConnectionFault(ENHANCE_YOUR_CALM, f"a control frame of {size_bytes} bytes")
