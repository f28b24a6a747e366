"""One request and its answer on a connection, and what HTTP/2 asks of the layer above."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from fusee.server.grpc.headers import Fields

if TYPE_CHECKING:
    from fusee.server.grpc.connection import Connection

Buffer = bytes | memoryview
"""A memoryview is one-dimensional and of single bytes, and what it looks at does not change until it is sent."""


class Exchange(Protocol):
    """The layer above, for one stream. None of these is called after ``abort``."""

    def receive(self, piece: Buffer) -> None:
        """The next part of the request's body, never empty."""
        ...

    def end(self) -> None:
        """The body is complete."""
        ...

    def abort(self) -> None:
        """The peer reset the stream or is gone: nothing that is sent arrives."""
        ...

    def drained(self) -> None:
        """All that was sent has gone out, and some of it had to wait."""
        ...

    def waits_for_body(self) -> bool:
        """Whether the peer owes a piece now, so that its silence is to be cut short."""
        ...


class Opening(Protocol):
    """What a request's header section asks for. Blocks that repeat share one: it is not changed."""

    def begin(self, stream: Stream) -> Exchange: ...


class Application(Protocol):
    """The layer above, for a connection."""

    def interpret(self, fields: Fields) -> Opening:
        """Raises MalformedFields."""
        ...


class Stream:
    """The HTTP/2 side of an exchange: what it may send, what it has yet to send, which sides are open."""

    __slots__ = (
        "connection",
        "exchange",
        "grant_bytes",
        "has_ended",
        "heard_s",
        "holds_window",
        "id",
        "is_ended_by_peer",
        "parts",
        "receive_window",
        "send_window",
        "trailers",
        "waiting_bytes",
    )

    def __init__(self, connection: Connection, stream_id: int, receive_window: int, send_window: int) -> None:
        self.connection = connection
        self.id = stream_id
        self.exchange: Exchange | None = None
        self.receive_window = receive_window
        self.grant_bytes = 0  # received and not given back to the peer's window
        self.holds_window = False  # the layer above has enough for now
        self.send_window = send_window
        self.parts: deque[Buffer] = deque()
        self.waiting_bytes = 0  # in ``parts``
        self.trailers: bytes | None = None  # the frame that ends the stream, when the parts are sent
        self.has_ended = False  # the frame that ends our side is written
        self.is_ended_by_peer = False
        self.heard_s = connection.now_s

    def send(self, headers: bytes, parts: Sequence[Buffer], size_bytes: int, trailers: bytes | None) -> None:
        """Send a part of the answer: header block or b"", body of ``size_bytes`` in all, and the trailers' block,
        which ends it."""
        self.connection.send(self, headers, parts, size_bytes, trailers)

    def reset(self, code: int) -> None:
        """Give the stream up; the exchange is not told."""
        self.connection.reset(self, code)

    def hold(self, is_held: bool) -> None:
        """Stop, or go on, giving the peer back what it sent of its window."""
        self.holds_window = is_held
        if not is_held:
            self.connection.grant(self)
