"""The streams of a connection: those that are open, and what is remembered of those that are not."""

from __future__ import annotations

from fusee.server.grpc.frames import PROTOCOL_ERROR, STREAM_CLOSED, ConnectionFault
from fusee.server.grpc.stream import Stream

_CLOSED_KEPT = 256


class StreamTable:
    """Open streams by number. Of the latest closed ones it knows whether the peer may not have noticed yet."""

    __slots__ = ("_closed", "highest", "open")

    def __init__(self) -> None:
        self.open: dict[int, Stream] = {}
        self.highest = 0  # that the peer has opened
        self._closed: dict[int, bool] = {}

    def close(self, stream_id: int, is_known: bool) -> None:
        """A stream is over; the peer knows that it is, or frames of it may still come."""
        self.open.pop(stream_id, None)
        self._closed[stream_id] = not is_known
        if len(self._closed) > _CLOSED_KEPT:
            del self._closed[next(iter(self._closed))]

    def check_known(self, stream_id: int, what: str) -> None:
        """Raises ConnectionFault for a stream that was never opened."""
        if not stream_id or not stream_id & 1 or stream_id > self.highest:
            raise ConnectionFault(PROTOCOL_ERROR, f"{what} on stream {stream_id}, which is idle")

    def check_late(self, stream_id: int, what: str) -> None:
        """A frame for a stream that is not open: fine while the peer may not know that. Raises ConnectionFault."""
        self.check_known(stream_id, what)
        is_unknown_to_peer = self._closed.get(stream_id)
        if is_unknown_to_peer is None and what == "HEADERS":
            raise ConnectionFault(PROTOCOL_ERROR, f"stream {stream_id} opened after stream {self.highest}")
        if not is_unknown_to_peer:
            raise ConnectionFault(STREAM_CLOSED, f"{what} on stream {stream_id}, which is closed")
