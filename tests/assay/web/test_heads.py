"""Heads that come slowly, without end, or not at all, over real connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from assay.web.heads import MOST_HEAD_BYTES, LimitedHeads

pytestmark = pytest.mark.anyio
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected() -> AsyncGenerator[Connection]:
    """One connection to a server that tells how long a body is, once it has come."""

    async def measure(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    app = Starlette(routes=[Route("/", measure, methods=["GET", "POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=LimitedHeads, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    reader, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname())
    yield reader, writer
    writer.close()
    server.should_exit = True
    await serving


async def answered(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: x\r\nx: y"])
async def test_a_head_that_stops_is_told_and_hung_up_on(monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr("assay.web.heads.HEAD_S", 0.05)
    async with connected() as (reader, writer):
        writer.write(begun)
        status, body = await answered(reader)
        assert (status, json.loads(body)["detail"]) == (408, "the head did not arrive in time")
        assert await reader.read() == b""


async def test_a_second_request_has_the_same_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert await answered(reader) == (200, b"0")
        monkeypatch.setattr("assay.web.heads.HEAD_S", 0.05)
        writer.write(b"GET / HTTP/1.1\r\nhost")
        assert (await answered(reader))[0] == 408


@pytest.mark.parametrize("endless", [b"x" * 99 + b": y\r\n", b"x" * 104])
async def test_a_head_without_end_is_refused(endless: bytes) -> None:
    async with connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n" + endless * (1 + MOST_HEAD_BYTES // len(endless)))
        status, body = await answered(reader)
        assert (status, json.loads(body)["reason"]) == (431, "head_too_long")


async def test_a_body_may_be_longer_than_a_head_and_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assay.web.heads.HEAD_S", 0.2)
    async with connected() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\n\r\n" + bytes(200_000))
        await asyncio.sleep(0.3)  # longer than a head may take
        writer.write(bytes(100_000))
        assert await answered(reader) == (200, b"300000")
