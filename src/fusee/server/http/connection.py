"""One connection: takes bytes in, hands requests to the core one after the other, writes the answers in that order.

A body whose length is known is received straight into its own buffer. Nothing here sets a timer: the door looks at
every connection's deadline now and then.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from enum import Enum
from math import inf
from typing import Protocol, cast

import numpy as np

from fusee.server.errors import ServingError
from fusee.server.http.call import Call
from fusee.server.http.chunks import Chunks
from fusee.server.http.core import Core
from fusee.server.http.head import Head, read_head
from fusee.server.http.messages import PHRASES, Refusal, Response, error_response, refusal
from fusee.server.settings import Limits
from fusee.server.types import Ticket
from fusee.server.wire import Buffer

_JOINED_BYTES = 64 * 1024  # up to here one copy costs less than a second system call
_KEPT_HEAD_BYTES = 4096
_AHEAD_BYTES = 64 * 1024  # of later requests, held while one is answered
_TOLD_CONNECTIONS = 64  # that are one too many and told so, which takes a while
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Desk(Protocol):
    """What a connection needs of its door."""

    core: Core
    limits: Limits
    scratch: memoryview
    """Where bytes are received; whoever is called next may overwrite it."""
    now_s: float
    """The monotonic clock as of the last look at the deadlines."""
    date: bytes
    is_closing: bool
    connections: set[Connection]

    def left(self, connection: Connection) -> None:
        """A connection is gone."""
        ...


class State(Enum):
    """What a connection waits for."""

    IDLE = "idle"
    HEAD = "the rest of a request's head"
    BODY = "the rest of a request's body"
    ANSWER = "an answer"
    CLOSING = "the caller to read what is left, or to hang up"


class Connection(asyncio.BufferedProtocol):
    """A caller's connection. Not one task or timer of its own."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._core = desk.core
        self._limits = desk.limits
        self._transport: asyncio.Transport | None = None
        self.state = State.IDLE
        self._deadline_s = inf
        self._pending = b""
        self._head_content = b""
        self._head: Head | None = None
        self._call: Call | None = None
        self._body: memoryview | None = None
        self._filled = 0
        self._chunks: Chunks | None = None
        self._held_bytes = 0
        self._ticket: Ticket | None = None
        self._is_advancing = False
        self._is_blocked = False
        self._is_paused = False
        self._is_last = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._desk.connections.add(self)
        self._wait(State.IDLE, self._limits.idle_timeout_s)
        if len(self._desk.connections) > self._limits.connections + _TOLD_CONNECTIONS:
            self.abort()
        elif len(self._desk.connections) > self._limits.connections:
            self._refuse(refusal(503, f"{self._limits.connections} connections are open, as many as may be"))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._desk.scratch if self._body is None else self._body[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._body is not None:
            self._receive_body(nbytes)
        elif self.state is not State.CLOSING:
            self._receive(bytes(self._desk.scratch[:nbytes]))

    def pause_writing(self) -> None:
        self._is_blocked = True

    def resume_writing(self) -> None:
        self._is_blocked = False
        if self.state is State.IDLE:
            self._wait(State.IDLE, self._limits.idle_timeout_s)
            self._advance(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._desk.left(self)
        self._body = self._chunks = None
        if self.state is not State.ANSWER:
            self._release()
        elif self._ticket is not None:
            self._ticket.cancel()

    def check_deadline(self, now_s: float) -> None:
        """Hang up on a caller who has taken too long."""
        if now_s < self._deadline_s:
            return
        if self.state in (State.HEAD, State.BODY) and not self._is_blocked:
            self._refuse(refusal(408, f"waited too long for {self.state.value}"))
        else:
            self.abort()

    def close_when_idle(self) -> None:
        """Close now, or after the answer that is under way."""
        if self.state is State.IDLE:
            self._close()

    def abort(self) -> None:
        """Close without a word."""
        if self._transport is not None:
            self._transport.abort()

    def _receive(self, content: bytes) -> None:
        if self.state is State.ANSWER or self._is_blocked:
            self._keep(self._pending + content)
        else:
            self._advance(content)

    def _keep(self, content: bytes) -> None:
        """Hold what comes before its turn, and not more than a little of it."""
        self._pending = content
        if len(content) > _AHEAD_BYTES and not self._is_paused and self._transport is not None:
            self._transport.pause_reading()
            self._is_paused = True

    def _advance(self, content: bytes) -> None:
        """Take in requests as far as the bytes that are here go, and one is not under way."""
        self._is_advancing = True
        rest = self._pending + content if self._pending else content
        self._pending = b""
        while rest and self.state is not State.CLOSING:
            if self.state is State.ANSWER or self._is_blocked:
                self._keep(rest)
                break
            try:
                rest = self._take(rest)
            except Refusal as err:
                self._refuse(err)
            except ServingError as err:
                self._refuse(Refusal(error_response(err)))
        self._is_advancing = False
        if self._is_paused and len(self._pending) <= _AHEAD_BYTES and self._transport is not None:
            self._transport.resume_reading()
            self._is_paused = False

    def _take(self, content: bytes) -> bytes:
        """Take in one head, or a piece of a chunked body; gives what is left. Raises Refusal, ServingError."""
        if self._chunks is not None:
            return self._take_chunks(self._chunks, content)
        end = content.find(b"\r\n\r\n") + 4
        if end < 4 or end > self._limits.header_bytes:
            self._keep_head(content)
            return b""
        head, call = self._look_up(content[:end])
        if isinstance(call, Refusal):
            return self._turn_down(head, call, content[end:])
        if head.is_chunked:
            self._expect_body(head, call)
            self._chunks = Chunks(replace(self._limits, body_bytes=call.body_bytes))
            return content[end:]
        stop = end + head.body_bytes
        if stop > len(content):
            self._expect_body(head, call)
            self._begin_body(head.body_bytes, content[end:])
            return b""
        self._hold(head.body_bytes)
        self._start(call, memoryview(content)[end:stop])
        return content[stop:]

    def _keep_head(self, content: bytes) -> None:
        if len(content) > self._limits.header_bytes:
            raise refusal(431, f"the request's head is more than {self._limits.header_bytes} bytes")
        self._pending = content
        if self.state is State.IDLE:
            self._wait(State.HEAD, self._limits.header_timeout_s)

    def _look_up(self, content: bytes) -> tuple[Head, Call | Refusal]:
        """Read a head, unless it is the last one again. Raises Refusal."""
        if self._head is not None and self._call is not None and content == self._head_content:
            return self._head, self._call
        self._head_content, self._head, self._call = b"", None, None
        self._head = head = read_head(content)
        try:
            self._call = self._core.prepare(head.method, head.target, head.headers)
        except Refusal as err:
            return head, err
        if head.body_bytes > self._call.body_bytes:
            raise refusal(
                413,
                f"the body is {head.body_bytes} bytes by its content-length, up to {self._call.body_bytes} are taken",
            )
        if len(content) <= _KEPT_HEAD_BYTES:
            self._head_content = content
        return head, self._call

    def _turn_down(self, head: Head, refused: Refusal, rest: bytes) -> bytes:
        """Answer a request that asks for nothing there is. Without a body the connection goes on."""
        if head.has_body:
            raise refused
        self.state = State.ANSWER
        self._core.log_refused(refused.response)
        self._respond(refused.response)
        return rest

    def _expect_body(self, head: Head, call: Call) -> None:
        """Let the caller in before his body. Raises ServingError."""
        self._core.admit(call)
        if head.expects_continue and self._transport is not None:
            self._transport.write(_CONTINUE)
        self._wait(State.BODY, self._limits.body_timeout_s)

    def _begin_body(self, size_bytes: int, first: bytes) -> None:
        self._hold(len(first))
        self._body = np.empty(size_bytes, np.uint8).data  # not cleared, unlike a bytearray
        self._body[: len(first)] = first
        self._filled = len(first)

    def _receive_body(self, nbytes: int) -> None:
        body, call = self._body, self._call
        assert body is not None
        assert call is not None
        self._filled += nbytes
        try:
            self._hold(nbytes)
        except ServingError as err:
            self._refuse(Refusal(error_response(err)))
            return
        if self._filled < len(body):
            self._wait(State.BODY, self._limits.body_timeout_s)
            return
        self._body = None
        self._start(call, body)

    def _take_chunks(self, chunks: Chunks, content: bytes) -> bytes:
        before = len(chunks.content)
        rest = chunks.feed(content)
        self._hold(len(chunks.content) - before)
        if rest is None:
            self._wait(State.BODY, self._limits.body_timeout_s)
            return b""
        self._chunks = None
        assert self._call is not None
        self._start(self._call, chunks.content)
        return rest

    def _start(self, call: Call, body: Buffer) -> None:
        self.state = State.ANSWER
        self._deadline_s = inf
        ticket = self._core.start(call, body, self._respond)
        if self.state is State.ANSWER:
            self._ticket = ticket

    def _respond(self, response: Response) -> None:
        """Write the answer to the request under way, then look at the next."""
        self._ticket = None
        self._release()
        head = self._head
        if self._transport is None or head is None:
            return
        self._is_last = not head.is_kept_alive or self._desk.is_closing
        self._write(response)
        if self._is_last:
            self._close()
            return
        self._wait(State.IDLE, self._limits.body_timeout_s if self._is_blocked else self._limits.idle_timeout_s)
        if self._pending and not self._is_advancing:
            self._advance(b"")

    def _refuse(self, refused: Refusal) -> None:
        """Answer and hang up: where the next request would begin is not known, or not worth waiting for."""
        self._ticket = self._body = self._chunks = None
        self._pending = b""
        self._release()
        self._is_last = True
        self._core.log_refused(refused.response)
        self._write(refused.response)
        self._close_after_word()

    def _write(self, response: Response) -> None:
        transport = self._transport
        if transport is None:
            return
        self._core.counts.answered("http", response.status)
        content = response.content
        size = sum(map(len, content))
        head = self._rendered(response, size)
        if self._head is not None and self._head.method == "HEAD":
            transport.write(head)
        elif size <= _JOINED_BYTES:
            transport.write(b"".join((head, *content)))
        else:
            transport.writelines((head, *content))

    def _rendered(self, response: Response, size_bytes: int) -> bytes:
        lines = [b"HTTP/1.1 %d %b\r\n%b" % (response.status, PHRASES[response.status], self._desk.date)]
        lines += [b"%b: %b\r\n" % header for header in response.headers]
        if self._is_last:
            lines.append(b"connection: close\r\n")
        lines.append(b"content-length: %d\r\n\r\n" % size_bytes)
        return b"".join(lines)

    def _close(self) -> None:
        """Hang up once all is written."""
        self._wait(State.CLOSING, self._limits.header_timeout_s)
        if self._transport is not None:
            self._transport.close()

    def _close_after_word(self) -> None:
        """Hang up on a caller who may be sending still: a socket closed on unread bytes resets, and the answer would
        be lost on him."""
        if self._transport is None or not self._transport.can_write_eof():
            self._close()
            return
        self._wait(State.CLOSING, self._limits.header_timeout_s)
        self._transport.write_eof()

    def _wait(self, state: State, timeout_s: float) -> None:
        self.state = state
        self._deadline_s = self._desk.now_s + timeout_s

    def _hold(self, size_bytes: int) -> None:
        """Count bytes of a body in. Raises ServingError OVERLOADED."""
        self._held_bytes += size_bytes
        self._core.hold(size_bytes)

    def _release(self) -> None:
        self._core.release(self._held_bytes)
        self._held_bytes = 0
