"""Opens the gRPC port, and shuts it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from asyncio import AbstractEventLoop, Server, TimerHandle
from functools import partial

from fusee.server.door import Door, House
from fusee.server.grpc.connection import Connection, Peers
from fusee.server.grpc.methods import METHODS
from fusee.server.grpc.service import Service

_SWEEP_S = 1.0  # between two looks at the clocks of all connections, at most


async def open_grpc(house: House, sock: socket.socket, tls: ssl.SSLContext | None) -> Door:
    """Serve gRPC on a bound socket. ``tls`` is to offer "h2" by ALPN."""
    door = _GrpcDoor(house, sock.getsockname()[1])
    await door.open(sock, tls)
    return door


class _GrpcDoor:
    """The port and its connections."""

    _server: Server

    def __init__(self, house: House, port: int) -> None:
        self._port = port
        self._loop: AbstractEventLoop = asyncio.get_running_loop()
        self._limits = house.limits
        self._connections: set[Connection] = set()
        self._gone: asyncio.Event = asyncio.Event()
        service = Service(house, METHODS)
        self._peers = Peers(service, house.limits, self._loop.time, self._opened, self._closed)
        self._sweep_timer: TimerHandle | None = None

    @property
    def port(self) -> int:
        return self._port

    async def open(self, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Accept connections."""
        timeout_s = self._limits.header_timeout_s if tls else None
        self._server = await self._loop.create_server(
            partial(Connection, self._peers), sock=sock, ssl=tls, ssl_handshake_timeout=timeout_s, backlog=1024
        )
        self._sweep()

    async def close(self, grace_s: float) -> None:
        """See ``Door``."""
        self._server.close()
        for connection in list(self._connections):
            connection.drain()
        try:
            async with asyncio.timeout(grace_s):
                while self._connections:
                    self._gone.clear()
                    await self._gone.wait()
        except TimeoutError:
            for connection in list(self._connections):
                connection.stop("the server is stopping")
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()

    def _opened(self, connection: Connection) -> bool:
        if len(self._connections) >= self._limits.connections:
            return False
        self._connections.add(connection)
        return True

    def _closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._gone.set()

    def _shed(self) -> None:
        """Hang up on those who leave the most unread, until all answers that wait take no more than bodies may."""
        unread = {c: size for c in self._connections if (size := c.unread_bytes)}
        total_bytes = sum(unread.values())
        for connection in sorted(unread, key=lambda c: unread[c], reverse=True):
            if total_bytes <= self._limits.request_bytes:
                return
            total_bytes -= unread[connection]
            connection.stop(f"{unread[connection]} bytes of answers are not read, and the server needs the memory")

    def _sweep(self) -> None:
        now_s = self._loop.time()
        for connection in list(self._connections):
            connection.sweep(now_s)
        self._shed()
        limits = self._limits
        soonest_s = min(limits.header_timeout_s, limits.body_timeout_s, limits.idle_timeout_s)
        self._sweep_timer = self._loop.call_later(min(_SWEEP_S, soonest_s / 4), self._sweep)
