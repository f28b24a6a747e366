"""The HTTP door as an ASGI application: the same answers, whoever runs it."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from fusee.server.http.asgi import asgi_app
from server.http.http_house import FakePlane, house, infer_body

INFER = "/v2/models/identity/infer"


class Server:
    """What an ASGI server does around one request."""

    def __init__(self, plane: FakePlane, method: str = "GET", path: str = INFER, **scope: Any) -> None:
        self.app = asgi_app(house(plane, body_bytes=1000))
        self.scope = {"type": "http", "method": method, "path": path, "headers": [], **scope}
        self.incoming: asyncio.Queue[Any] = asyncio.Queue()
        self.sent: list[Any] = []

    def receives(self, *pieces: bytes) -> None:
        for index, piece in enumerate(pieces):
            self.incoming.put_nowait({"type": "http.request", "body": piece, "more_body": index + 1 < len(pieces)})

    async def run(self) -> None:
        async def send(message: Any) -> None:
            self.sent.append(message)

        await self.app(self.scope, self.incoming.get, send)

    @property
    def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        start, body = self.sent
        return start["status"], dict(start["headers"]), body["body"]


def run(server: Server, *pieces: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    async def answered() -> tuple[int, dict[bytes, bytes], bytes]:
        server.receives(*(pieces or (b"",)))
        await server.run()
        return server.answer

    return asyncio.run(answered())


def test_infer_with_a_body_in_pieces():
    body = infer_body(1.0, 2.0)
    status, headers, content = run(Server(FakePlane(), "POST"), body[:9], body[9:])
    assert status == 200
    assert headers[b"content-length"] == b"%d" % len(content)
    assert orjson.loads(content)["outputs"][0]["data"] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("scope", "name"),
    [
        ({"path": "/v2/models/a b"}, "a b"),
        ({"path": "/v2/models/a b", "raw_path": b"/v2/models/a%20b?x=1"}, "a b"),
        ({"path": "/v2/models/a/b", "raw_path": b"/v2/models/a%2Fb"}, "a/b"),
        ({"path": "/on/here/v2/models/m", "root_path": "/on/here"}, "m"),
    ],
)
def test_paths_below_where_it_is_mounted(scope, name):
    plane = FakePlane(answers={"model_metadata": {}})
    assert run(Server(plane, **scope))[0] == 200
    assert plane.calls == [("model_metadata", {"name": name})]


@pytest.mark.parametrize(
    ("method", "path", "pieces", "status"),
    [
        ("GET", "/nothing", (b"",), 404),
        ("GET", INFER, (b"",), 405),
        ("POST", INFER, (b"{",), 400),
        ("POST", INFER, (bytes(600), bytes(600)), 413),
    ],
)
def test_refusals(method, path, pieces, status):
    found, headers, content = run(Server(FakePlane(), method, path), *pieces)
    assert found == status
    assert headers[b"content-type"] == b"application/json"
    assert orjson.loads(content)["error"]


def test_head_has_no_body():
    server = Server(FakePlane(answers={"server_metadata": {"name": "fusee"}}), "HEAD", "/v2")
    status, headers, content = run(server)
    assert (status, headers[b"content-length"], content) == (200, b"16", b"")


def test_callers_who_leave_cancel():
    async def leave():
        plane = FakePlane(holds=True)
        server = Server(plane, "POST")
        server.receives(infer_body())
        running = asyncio.ensure_future(server.run())
        await plane.arrived.get()
        server.incoming.put_nowait({"type": "http.disconnect"})
        await running
        assert plane.tickets[0].cancelled.is_set()

    asyncio.run(leave())


def test_callers_who_leave_before_their_body_is_whole():
    async def leave():
        server = Server(FakePlane(), "POST")
        server.incoming.put_nowait({"type": "http.request", "body": b"{", "more_body": True})
        server.incoming.put_nowait({"type": "http.disconnect"})
        await server.run()
        assert server.sent == []

    asyncio.run(leave())


def test_lifespan():
    async def live():
        server = Server(FakePlane(), type="lifespan")
        for event in ("startup", "shutdown"):
            server.incoming.put_nowait({"type": f"lifespan.{event}"})
        await server.run()
        assert [m["type"] for m in server.sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

    asyncio.run(live())


def test_other_protocols():
    with pytest.raises(ValueError, match="'websocket'"):
        run(Server(FakePlane(), type="websocket"))
