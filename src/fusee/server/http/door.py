"""The open port of the HTTP door."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from email.utils import formatdate
from time import monotonic

from fusee.server.door import Door, House, Page
from fusee.server.http.connection import Connection
from fusee.server.http.core import Core
from fusee.server.settings import Limits

_SCRATCH_BYTES = 64 * 1024
_LONGEST_TICK_S = 1.0


class HttpDoor:
    """A listening socket and its connections. One timer looks after the deadlines of all."""

    def __init__(self, house: House, pages: Sequence[Page]) -> None:
        self.core = Core(house, pages)
        self.limits = house.limits
        self.scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self.connections: set[Connection] = set()
        self.is_closing = False
        self._emptied = asyncio.Event()
        self.now_s = monotonic()
        self.date = b""
        self._tick_s = _tick_s(house.limits)
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._timer = self._loop.call_soon(self._tick)

    @property
    def port(self) -> int:
        return self._port

    async def listen(self, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        self._port = sock.getsockname()[1]
        handshake_s = self.limits.header_timeout_s if tls else None
        self._server = await self._loop.create_server(
            lambda: Connection(self), sock=sock, ssl=tls, ssl_handshake_timeout=handshake_s, backlog=1024
        )

    async def close(self, grace_s: float) -> None:
        """Accept nothing new, answer what is under way within that time, close."""
        self.is_closing = True
        if self._server is not None:
            self._server.close()
        for connection in tuple(self.connections):
            connection.close_when_idle()
        if self.connections:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), grace_s)
        for connection in tuple(self.connections):
            connection.abort()
        await self.core.finished()
        self._timer.cancel()

    def left(self, connection: Connection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        if self.is_closing and not self.connections:
            self._emptied.set()

    def _tick(self) -> None:
        self.now_s = monotonic()
        self.date = b"date: %b\r\n" % formatdate(usegmt=True).encode()
        for connection in tuple(self.connections):
            connection.check_deadline(self.now_s)
        self._timer = self._loop.call_later(self._tick_s, self._tick)


async def open_http(house: House, pages: Sequence[Page], sock: socket.socket, tls: ssl.SSLContext | None) -> Door:
    """Serve HTTP on a bound socket, with TLS when a context is given."""
    door = HttpDoor(house, pages)
    await door.listen(sock, tls)
    return door


def _tick_s(limits: Limits) -> float:
    """A quarter of the shortest timeout, so that none is overrun by more, and a second at most."""
    return min(_LONGEST_TICK_S, limits.header_timeout_s / 4, limits.body_timeout_s / 4, limits.idle_timeout_s / 4)
