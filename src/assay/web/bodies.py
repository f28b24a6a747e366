"""Bodies of requests, read with a limit on their size and on the time they take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.types import Message

from assay.errors import Reason, Refusal, invalid
from assay.web.problems import TooSlow

SILENCE_S = 15.0  # between two pieces of a body
WHOLE_S = 120.0  # for all of it: 20 MB at 1.4 Mbit/s


class LimitedReceive:
    """Stands in for a request's ``receive``. Raises Refusal TOO_LARGE as soon as the limit is passed, and TooSlow."""

    def __init__(self, receive: Callable[[], Awaitable[Message]], limit_bytes: int) -> None:
        self._receive = receive
        self._limit_bytes = limit_bytes
        self._deadline = time.monotonic() + WHOLE_S
        self._received_bytes = 0
        self._is_complete = False

    async def __call__(self) -> Message:
        if self._is_complete:  # what comes now is the client's going away: a stream may wait for it as long as it lives
            return await self._receive()
        left_s = min(SILENCE_S, self._deadline - time.monotonic())
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, left_s))
        except TimeoutError as err:
            raise TooSlow(f"the body stopped after {self._received_bytes} bytes; send it again") from err
        if message["type"] == "http.request":
            self._count(message)
        return message

    def _count(self, message: Message) -> None:
        self._received_bytes += len(message.get("body", b""))
        self._is_complete = not message.get("more_body", False)
        if self._received_bytes > self._limit_bytes:
            raise too_large(f"more than {self._limit_bytes}", self._limit_bytes)


def too_large(found: str, limit_bytes: int) -> Refusal:
    detail = f"the body has {found} bytes; at most {limit_bytes} are taken here. Send a smaller one."
    return Refusal(Reason.TOO_LARGE, detail)


def limited(request: Request, limit_bytes: int) -> Request:
    """The request with its body limited; one that announces more is refused before anything is read."""
    announced = request.headers.get("content-length", "0")
    if not (announced.isascii() and announced.isdigit()):
        raise invalid(f"header Content-Length is {announced[:40]!r}; expected a number of bytes")
    if int(announced) > limit_bytes:
        raise too_large(announced, limit_bytes)
    return Request(request.scope, LimitedReceive(request.receive, limit_bytes))
