"""Messages between the supervisor and a process it started: a JSON document and file descriptors."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from fusee.server.types import Json

LARGEST_BYTES = 1 << 17
MOST_DESCRIPTORS = 16


class Received(NamedTuple):
    """A message; who takes it owns the descriptors."""

    document: Json
    descriptors: Sequence[int]


class Messages:
    """One end of a socket that keeps messages apart."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end

    def send(self, document: Json, descriptors: Sequence[int] = ()) -> None:
        """Raises OSError when the other end is gone or does not read."""
        socket.send_fds(self._socket, [orjson.dumps(document, default=str)], descriptors)

    async def receive(self) -> Received | None:
        """The next message; None when the other end is gone."""
        while True:
            try:
                content, descriptors, _, _ = socket.recv_fds(self._socket, LARGEST_BYTES, MOST_DESCRIPTORS)
            except BlockingIOError:
                await self._readable()
                continue
            except ConnectionResetError:
                return None
            return Received(orjson.loads(content), descriptors) if content else None

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._socket, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._socket)

    def close(self) -> None:
        self._socket.close()


def new_messages() -> tuple[Messages, socket.socket]:
    """This process's end, and the other's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Messages(ours), theirs
