"""The doors of one process."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import replace

from fusee.server.door import Door, DoorCounts, House, Page
from fusee.server.errors import not_found
from fusee.server.grpc import open_grpc
from fusee.server.http import open_http
from fusee.server.settings import Settings
from fusee.server.tls import tls_context
from fusee.server.types import ANSWERED, Done, InferRequest, Json, Ticket


class _PagesAlone:
    """The plane of the metrics port: who scrapes may not infer there."""

    def infer(self, request: InferRequest, done: Done) -> Ticket:
        done(not_found("this port has pages alone, such as /metrics"))
        return ANSWERED

    async def call(self, operation: str, arguments: Mapping[str, Json]) -> Json:
        raise not_found("this port has pages alone, such as /metrics")


class Doors:
    """The open doors of one process."""

    def __init__(self, house: House, settings: Settings, pages: Sequence[Page]) -> None:
        self._house = house
        self._settings = settings
        self._pages = pages
        self._doors: list[Door] = []

    async def open(self, sockets: Mapping[str, socket.socket]) -> None:
        """Open the doors of those names; the sockets are taken over. Raises RequestError for TLS files."""
        pages_alone = replace(self._house, plane=_PagesAlone(), counts=DoorCounts())
        contexts = {"http": self._tls("http/1.1"), "grpc": self._tls("h2"), "metrics": self._tls("http/1.1")}
        for door, sock in sockets.items():
            if door == "grpc":
                self._doors.append(await open_grpc(self._house, sock, contexts[door]))
            else:
                house = self._house if door == "http" else pages_alone
                self._doors.append(await open_http(house, self._pages, sock, contexts[door]))

    def _tls(self, protocol: str) -> ssl.SSLContext | None:
        return tls_context(self._settings.tls, (protocol,)) if self._settings.tls else None

    async def close(self, grace_s: float) -> None:
        """Accept nothing new, finish what is under way within that time, close."""
        await asyncio.gather(*(door.close(grace_s) for door in self._doors))
        self._doors.clear()
