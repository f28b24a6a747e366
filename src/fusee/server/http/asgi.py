"""The HTTP door as an ASGI application, to be mounted beside a user's own routes::

    app = FastAPI()
    app.mount("/inference", asgi_app(house, pages))

What bounds connections (headers, timeouts, how many) is then the ASGI server's; everything else holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any
from urllib.parse import quote

from fusee.server.door import House, Page
from fusee.server.errors import Reason, ServingError
from fusee.server.http.core import Core
from fusee.server.http.messages import Refusal, Response, error_response
from fusee.server.settings import Limits

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class _HungUp(Exception):
    """The caller has gone."""


def asgi_app(house: House, pages: Sequence[Page] = ()) -> App:
    """An application that answers as the HTTP door does. One event loop may run it."""
    core = Core(house, pages)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await _Exchange(core, house.limits, scope, receive, send).run()
        else:
            raise ValueError(f"ASGI scope {scope['type']!r}: this application speaks HTTP")

    return app


async def _lifespan(receive: Receive, send: Send) -> None:
    """The servers' start and end: nothing is to be done at either."""
    while True:
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return


class _Exchange:
    """One request and its answer."""

    def __init__(self, core: Core, limits: Limits, scope: Scope, receive: Receive, send: Send) -> None:
        self._core = core
        self._limits = limits
        self._scope = scope
        self._receive = receive
        self._send = send
        self._held_bytes = 0

    async def run(self) -> None:
        try:
            response = await self._response()
        except _HungUp:
            return
        except Refusal as err:
            response = err.response
        except ServingError as err:
            response = error_response(err)
        finally:
            self._core.release(self._held_bytes)
        await self._write(response)

    async def _response(self) -> Response:
        """Raises Refusal, ServingError, _HungUp."""
        call = self._core.prepare(self._scope["method"], _path(self._scope), _headers(self._scope))
        self._core.admit(call)
        body = await self._body(call.body_bytes)
        answered: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        ticket = self._core.start(call, body, lambda r: None if answered.done() else answered.set_result(r))
        if answered.done():
            return answered.result()
        watch = asyncio.ensure_future(self._disconnected())
        try:
            await asyncio.wait((answered, watch), return_when=asyncio.FIRST_COMPLETED)
            if not answered.done() and ticket is not None:
                ticket.cancel()
            return await answered
        finally:
            watch.cancel()

    async def _body(self, limit_bytes: int) -> bytearray:
        body = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise _HungUp
            piece: bytes = message.get("body", b"")
            self._held_bytes += len(piece)
            self._core.hold(len(piece))
            body += piece
            if len(body) > limit_bytes:
                raise ServingError(Reason.TOO_LARGE, f"the body is more than {limit_bytes} bytes")
            if not message.get("more_body", False):
                return body

    async def _disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue

    async def _write(self, response: Response) -> None:
        size_bytes = sum(map(len, response.content))
        headers = [*response.headers, (b"content-length", b"%d" % size_bytes)]
        await self._send({"type": "http.response.start", "status": response.status, "headers": headers})
        is_head = self._scope["method"] == "HEAD"
        body = b"" if is_head else b"".join(response.content)
        await self._send({"type": "http.response.body", "body": body})


def _headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _path(scope: Scope) -> str:
    """The path below where the application is mounted, still quoted."""
    path: str = quote(scope["path"])
    if raw := scope.get("raw_path"):
        path = raw.decode("latin-1").partition("?")[0]
    return path.removeprefix(quote(scope.get("root_path", ""))) or "/"
