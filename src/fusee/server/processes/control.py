"""JSON documents over a Unix socket between two processes: everything but tensors."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from struct import Struct
from typing import cast

import orjson

from fusee.server.types import Json

LENGTH = Struct("<I")
LARGEST_BYTES = 1 << 28  # models may come with a load call


class Control(asyncio.Protocol):
    """One end of the socket. ``take`` gets each document; ``lost`` is called once, when the other end is gone, sent
    what is no document, or this end was closed."""

    def __init__(self, take: Callable[[Json], None], lost: Callable[[], None]) -> None:
        self._take, self._lost = take, lost
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        while len(received) >= LENGTH.size:
            (size_bytes,) = LENGTH.unpack_from(received)
            if size_bytes > LARGEST_BYTES:
                self.close()
                return
            end = LENGTH.size + size_bytes
            if len(received) < end:
                return
            content = bytes(received[LENGTH.size : end])
            del received[:end]
            if not self._taken(content):
                return

    def _taken(self, content: bytes) -> bool:
        try:
            document = orjson.loads(content)
        except orjson.JSONDecodeError:
            self.close()
            return False
        self._take(document)
        return self._transport is not None

    def send(self, document: Json) -> None:
        """Send a document. Raises orjson.JSONEncodeError; does nothing when the socket is closed."""
        content = orjson.dumps(document)
        if self._transport is not None:
            self._transport.write(LENGTH.pack(len(content)) + content)

    def close(self) -> None:
        """Close at once; what was not sent yet is dropped."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._lost()


async def open_control(end: socket.socket, take: Callable[[Json], None], lost: Callable[[], None]) -> Control:
    """Speak over that socket, which is taken over."""
    end.setblocking(False)
    loop = asyncio.get_running_loop()
    _, control = await loop.create_unix_connection(lambda: Control(take, lost), sock=end)
    return control
