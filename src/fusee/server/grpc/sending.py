"""Sends answers as far as the peer's windows and the socket let it, and keeps the rest."""

from __future__ import annotations

from asyncio import Transport
from collections.abc import Callable, Iterable, Sequence

from fusee.server.grpc.frames import (
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    HEADER,
    HEADERS,
    LARGEST_WINDOW,
    SMALLEST_MAX_FRAME,
    ConnectionFault,
    StreamFault,
    frame_header,
)
from fusee.server.grpc.headers import SIZE_UPDATE_TO_ZERO
from fusee.server.grpc.stream import Buffer, Stream

_JOINED_BYTES = SMALLEST_MAX_FRAME  # bodies up to this size fit in one frame of any peer, and go in one write
_TURN_FRAMES = 16  # that one stream sends before the next has its turn


class Sender:
    """The sending half of a connection."""

    def __init__(self, transport: Transport, ended: Callable[[Stream], None]) -> None:
        self._transport = transport
        self._ended = ended
        self._waiting: dict[int, Stream] = {}
        self._opens_blocks = SIZE_UPDATE_TO_ZERO
        self.window = DEFAULT_WINDOW
        self.initial_window = DEFAULT_WINDOW
        self.max_frame = SMALLEST_MAX_FRAME
        self.is_paused = False
        self.moved_bytes = 0  # of answers that waited, since the connection began

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is kept back."""
        return bool(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        """Of all answers that are kept back."""
        return sum(stream.waiting_bytes for stream in self._waiting.values())

    def send(
        self, stream: Stream, headers: bytes, parts: Sequence[Buffer], size_bytes: int, trailers: bytes | None
    ) -> None:
        """See ``Stream.send``."""
        stream_id = stream.id
        head = self._block(stream_id, headers, END_HEADERS) if headers else b""
        tail = None if trailers is None else self._block(stream_id, trailers, END_HEADERS | END_STREAM)
        if stream.parts or self.is_paused or size_bytes > min(self.window, stream.send_window, _JOINED_BYTES):
            self._send_large(stream, head, parts, size_bytes, tail)
            return
        if size_bytes:
            self.window -= size_bytes
            stream.send_window -= size_bytes
            head = b"".join((head, frame_header(size_bytes, DATA, 0, stream_id), *parts))
        self._transport.write(head if tail is None else head + tail)
        if tail is not None:
            self._end(stream)

    def forget(self, stream: Stream) -> None:
        """Send no more of that stream."""
        stream.parts.clear()
        stream.waiting_bytes = 0
        stream.trailers = None
        self._waiting.pop(stream.id, None)

    def resume(self) -> None:
        """Send what has become possible, streams taking turns."""
        is_moving = True
        while is_moving and not self.is_paused:
            is_moving = False
            for stream in list(self._waiting.values()):
                if self.window > 0 or not stream.parts:
                    is_moving |= self._turn(stream)

    def set_initial_window(self, size_bytes: int, open_streams: Iterable[Stream]) -> None:
        """The peer changed the window that streams begin with, and by as much those of open ones. Raises
        ConnectionFault."""
        change, self.initial_window = size_bytes - self.initial_window, size_bytes
        for stream in open_streams:
            stream.send_window += change
            if stream.send_window > LARGEST_WINDOW:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "a stream's window grew beyond 2^31-1")
        self.resume()

    def widen(self, increment: int) -> None:
        """The peer gave window to the connection. Raises ConnectionFault."""
        self.window += increment
        if self.window > LARGEST_WINDOW:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "the connection's window grew beyond 2^31-1")
        self.resume()

    def widen_stream(self, stream: Stream, increment: int) -> None:
        """The peer gave window to a stream. Raises StreamFault."""
        stream.send_window += increment
        if stream.send_window > LARGEST_WINDOW:
            raise StreamFault(stream.id, FLOW_CONTROL_ERROR, "the stream's window grew beyond 2^31-1")
        if stream.id in self._waiting:
            while self._turn(stream):
                continue

    def _block(self, stream_id: int, block: bytes, flags: int) -> bytes:
        if self._opens_blocks:
            block = self._opens_blocks + block
            self._opens_blocks = b""
        size = len(block)
        return HEADER.pack(size >> 8, size & 0xFF, HEADERS, flags, stream_id) + block

    def _send_large(
        self, stream: Stream, head: bytes, parts: Sequence[Buffer], size_bytes: int, tail: bytes | None
    ) -> None:
        if head:
            self._transport.write(head)
        stream.parts.extend(part for part in parts if part)
        stream.waiting_bytes += size_bytes
        stream.trailers = tail
        self._waiting[stream.id] = stream
        self.resume()

    def _turn(self, stream: Stream) -> bool:
        """Send some frames of a stream; whether any was."""
        frames = 0
        while stream.parts and frames < _TURN_FRAMES and not self.is_paused:
            size_bytes = min(self.window, stream.send_window, self.max_frame, stream.waiting_bytes)
            if size_bytes <= 0:
                break
            self._write_frame(stream, size_bytes)
            frames += 1
        if not stream.parts and not self.is_paused:
            self._waiting.pop(stream.id, None)
            if stream.trailers is not None:
                self._transport.write(stream.trailers)
                self._end(stream)
            elif stream.exchange is not None:
                stream.exchange.drained()
        return frames > 0

    def _write_frame(self, stream: Stream, size_bytes: int) -> None:
        self.window -= size_bytes
        stream.send_window -= size_bytes
        stream.waiting_bytes -= size_bytes
        self.moved_bytes += size_bytes
        buffers: list[Buffer] = [frame_header(size_bytes, DATA, 0, stream.id)]
        left = size_bytes
        while left:
            part = stream.parts[0]
            if len(part) <= left:
                buffers.append(stream.parts.popleft())
                left -= len(part)
            else:
                view = memoryview(part)
                buffers.append(view[:left])
                stream.parts[0] = view[left:]
                left = 0
        self._transport.writelines(buffers)

    def _end(self, stream: Stream) -> None:
        stream.trailers = None
        stream.has_ended = True
        self._ended(stream)
