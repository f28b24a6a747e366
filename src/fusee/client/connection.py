"""A kept-alive HTTP/1.1 connection that sends one prepared request after another, by callbacks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

Answered = Callable[[int, bytes], None]
"""Takes status and body; status 0 is a connection that was lost."""


class Connection(asyncio.Protocol):
    """Sends when told to and gives the answer to a callback; one request at a time."""

    def __init__(self) -> None:
        self._answered: Answered | None = None
        self._transport: asyncio.Transport | None = None
        self._body: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, parts: list[bytes], answered: Answered) -> None:
        """Send a whole request, given in parts."""
        assert self._transport is not None
        assert self._answered is None
        self._answered = answered
        self._body = []
        self._transport.writelines(parts)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._finish(0)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if not self._parser.should_keep_alive():
            self.close()
        self._parser = httptools.HttpResponseParser(self)
        self._finish(status)

    def _finish(self, status: int) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(status, b"".join(self._body))
