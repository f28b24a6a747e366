"""Heads of requests, read with a limit on their size and on the time they take: the HTTP server has neither."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from assay.web.problems import Problem, TooSlow, problem_of, problem_response

HEAD_S = 15.0  # from the connection, or from a later request's first byte, to the end of the head
MOST_HEAD_BYTES = 64 * 1024


class LimitedHeads(HttpToolsProtocol):
    """One connection. Whose head is late, or too long, is told so and hung up on."""

    _late: asyncio.TimerHandle | None = None  # set while a head is awaited
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_head()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        self._have_head()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._late is None:  # what came ended a head, or belongs to a body
            return
        self._head_bytes += len(data)
        if self._head_bytes > MOST_HEAD_BYTES:
            found = f"the head of the request has more than {MOST_HEAD_BYTES} bytes; send fewer headers"
            self._hang_up(Problem(431, "Too long", found, "head_too_long"))

    def _await_head(self) -> None:
        self._have_head()
        self._head_bytes = 0
        self._late = self.loop.call_later(HEAD_S, self._hang_up, problem_of(TooSlow("the head did not arrive in time")))

    def _have_head(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _hang_up(self, problem: Problem) -> None:
        self._have_head()
        if self.transport.is_closing():
            return
        response = problem_response(problem)
        lines = [f"HTTP/1.1 {problem.status} {problem.title}", "connection: close"]
        lines += [f"{name.decode()}: {value.decode()}" for name, value in response.raw_headers]
        self.transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + bytes(response.body))
        self.transport.close()
