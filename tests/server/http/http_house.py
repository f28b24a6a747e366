"""A plane that answers as it is told, and ways to ask the HTTP door without and with sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from fusee.server.access import Access
from fusee.server.door import House, Page
from fusee.server.errors import Reason, ServingError, not_found
from fusee.server.http.core import Core
from fusee.server.http.door import HttpDoor
from fusee.server.http.messages import Response
from fusee.server.settings import Limits
from fusee.server.types import Done, InferRequest, InferResponse, Ticket

CONFIG = {
    "name": "identity",
    "max_batch_size": 8,
    "input": [{"name": "IN", "data_type": "TYPE_FP32", "dims": [-1]}],
    "output": [{"name": "OUT", "data_type": "TYPE_FP32", "dims": [-1]}],
}


class FakeTicket:
    def __init__(self, done: Done) -> None:
        self._done = done
        self.cancelled = asyncio.Event()

    def cancel(self) -> None:
        self.cancelled.set()
        self._done(ServingError(Reason.CANCELLED, "cancelled"))


@dataclass
class FakePlane:
    """Answers inferences with their inputs under other names ("IN" is "OUT"), at once or when told."""

    holds: bool = False
    error: ServingError | None = None
    answers: dict[str, Any] = field(default_factory=dict)
    requests: list[InferRequest] = field(default_factory=list)
    calls: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    waiting: list[Callable[[], None]] = field(default_factory=list)
    tickets: list[FakeTicket] = field(default_factory=list)
    arrived: asyncio.Queue[InferRequest] = field(default_factory=asyncio.Queue)
    response: Callable[[InferRequest], InferResponse] | None = None

    def infer(self, request: InferRequest, done: Done) -> Ticket:
        self.requests.append(request)
        answer = self.error or (self.response or echo)(request)
        ticket = FakeTicket(done)
        self.tickets.append(ticket)
        if self.holds:
            self.waiting.append(lambda: done(answer))
        else:
            done(answer)
        self.arrived.put_nowait(request)
        return ticket

    async def call(self, operation: str, arguments: Mapping[str, Any]) -> Any:
        self.calls.append((operation, arguments))
        answer = self.answers.get(operation, not_found(f"no answer for {operation}"))
        if isinstance(answer, Exception):
            raise answer
        return answer


def echo(request: InferRequest) -> InferResponse:
    """The answer of an identity model; outputs in shared memory keep their regions."""
    regions = {w.name: w.region for w in request.outputs}
    outputs = tuple(
        t._replace(name=name, region=regions.get(name))
        for t, name in ((t, t.name.replace("IN", "OUT")) for t in request.inputs)
    )
    return InferResponse(request.model, request.version or "1", request.id, outputs)


def house(plane: FakePlane, access: Access | None = None, **limits: float) -> House:
    return House(plane, access or Access(), Limits(**limits))  # type: ignore[arg-type]


class Asker:
    """Asks a core and waits for its answers; only inside an event loop."""

    def __init__(self, plane: FakePlane, access: Access | None = None, pages: tuple[Page, ...] = (), **limits: float):
        self.core = Core(house(plane, access, **limits), pages)

    async def ask(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Response:
        answered: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.core.handle(method, target, headers or {}, body, answered.set_result)
        return await answered

    async def infer(self, document: Any, binary: bytes = b"", **headers: str) -> Response:
        header = orjson.dumps(document)
        named = {k.replace("_", "-"): v for k, v in headers.items()}
        if binary:
            named["inference-header-content-length"] = str(len(header))
        return await self.ask("POST", "/v2/models/identity/infer", header + binary, named)


def body_of(response: Response) -> bytes:
    return b"".join(response.content)


def document_of(response: Response) -> Any:
    """The JSON of an answer, without the binary data after it."""
    body = body_of(response)
    length = dict(response.headers).get(b"inference-header-content-length")
    return orjson.loads(body[: int(length)] if length else body)


def error_of(response: Response) -> str:
    return document_of(response)["error"]


def tensor(name: str = "IN", values: Any = (1.0, 2.0), **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": "FP32", "shape": [len(values)], "data": list(values), **more}


def binary_tensor(size_bytes: int, name: str = "IN") -> dict[str, Any]:
    parameters = {"binary_data_size": size_bytes}
    return {"name": name, "datatype": "FP32", "shape": [size_bytes // 4], "parameters": parameters}


@asynccontextmanager
async def open_door(
    plane: FakePlane, access: Access | None = None, tls: ssl.SSLContext | None = None, **limits: float
) -> AsyncGenerator[HttpDoor]:
    """A door on a free port."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    door = HttpDoor(house(plane, access, **limits), ())
    await door.listen(sock, tls)
    try:
        yield door
    finally:
        await door.close(0.0)


@dataclass
class Answer:
    """What came over the socket."""

    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """A client that sends exactly the bytes it is given."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @staticmethod
    async def to(door: HttpDoor, tls: ssl.SSLContext | None = None) -> Wire:
        return Wire(*await asyncio.open_connection("127.0.0.1", door.port, ssl=tls))

    async def send(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    async def answer(self, has_body: bool = True) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        size = int(headers.get("content-length", "0")) if has_body else 0
        return Answer(int(first.split()[1]), headers, await self.reader.readexactly(size))

    async def ask(self, content: bytes) -> Answer:
        await self.send(content)
        return await self.answer()

    async def is_closed(self) -> bool:
        """Whether the server hangs up and says nothing before it."""
        return await self.reader.read(1) == b""

    def close(self) -> None:
        self.writer.close()


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: x", *headers, "", "")).encode()


def post_infer(body: bytes, *headers: str) -> bytes:
    lines = ("POST /v2/models/identity/infer HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", "")
    return "\r\n".join(lines).encode() + body


def infer_body(*values: float) -> bytes:
    return orjson.dumps({"inputs": [tensor(values=values or (1.0, 2.0))]})
