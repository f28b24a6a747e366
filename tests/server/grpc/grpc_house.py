"""A gRPC door with a plane that answers without models."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import uvloop

from fusee.server.access import Access
from fusee.server.door import Door, House
from fusee.server.errors import Reason, ServingError, not_found
from fusee.server.grpc import open_grpc
from fusee.server.settings import Limits
from fusee.server.types import Done, InferRequest, InferResponse, Tensor


class FakeTicket:
    def __init__(self, plane: FakePlane, request: InferRequest, done: Done) -> None:
        self.plane, self.request, self.done = plane, request, done
        self.is_cancelled = False

    def cancel(self) -> None:
        if not self.is_cancelled:
            self.is_cancelled = True
            self.plane.cancelled.append(self.request.id)
            self.plane.noticed.set()
            self.done(ServingError(Reason.CANCELLED, "cancelled"))


class FakePlane:
    """Models by name: identity answers its inputs, repeat gives several answers, hold never answers. Of the operations
    the status of CUDA regions never comes, and those without an answer are not found."""

    def __init__(self) -> None:
        self.requests: list[InferRequest] = []
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self.cancelled: list[str] = []
        self.held: list[FakeTicket] = []
        self.noticed = threading.Event()  # something was held or cancelled
        self.failures: dict[str, ServingError] = {}
        self.answers: dict[str, Any] = {"server_live": {"live": True}, "server_ready": {"ready": True}}

    def infer(self, request: InferRequest, done: Done) -> FakeTicket:
        self.requests.append(request)
        ticket = FakeTicket(self, request, done)
        answer: Callable[[InferRequest, Done], None] | None = getattr(self, f"_{request.model}", None)
        if request.model in self.failures:
            done(self.failures[request.model])
        elif request.model == "hold":
            self.held.append(ticket)
            self.noticed.set()
        elif answer is None:
            done(not_found(f"Request for unknown model: {request.model!r} is not found"))
        else:
            answer(request, done)
        return ticket

    def answer(self, request: InferRequest, done: Done) -> None:
        """Answer a request that was held."""
        self._identity(request, done)

    def _identity(self, request: InferRequest, done: Done) -> None:
        outputs = tuple(t._replace(name=t.name.replace("INPUT", "OUTPUT")) for t in request.inputs)
        done(InferResponse(request.model, request.version or "1", request.id, outputs))

    def _later(self, request: InferRequest, done: Done) -> None:
        asyncio.get_running_loop().call_soon(self._identity, request, done)

    def _region(self, request: InferRequest, done: Done) -> None:
        region = request.outputs[0].region
        shared = Tensor("OUTPUT0", "FP32", (2,), None, region)
        here = Tensor("OUTPUT1", "FP32", (1,), np.array([7], np.float32))
        done(InferResponse(request.model, "1", request.id, (shared, here)))

    def _repeat(self, request: InferRequest, done: Done) -> None:
        for value in request.inputs[0].values().ravel():
            tensor = Tensor("OUTPUT0", "INT32", (1,), np.array([value], np.int32))
            done(InferResponse(request.model, "1", request.id, (tensor,), final=False))
        done(InferResponse(request.model, "1", request.id, (), final=True))

    def _busy(self, request: InferRequest, done: Done) -> None:
        done(ServingError(Reason.OVERLOADED, "the queue of model 'busy' is full: 100 %", 2.5))

    def _twice(self, request: InferRequest, done: Done) -> None:
        done(ServingError(Reason.INTERNAL, "first"))
        done(ServingError(Reason.INTERNAL, "second"))

    async def call(self, operation: str, arguments: Mapping[str, Any]) -> Any:
        self.calls.append((operation, arguments))
        if operation == "cuda_shared_memory_status":
            await asyncio.get_running_loop().create_future()  # never
        if operation not in self.answers:
            raise not_found(f"no answer to {operation}")
        return self.answers[operation]


class RunningDoor:
    """A door on a loop in a thread of its own."""

    def __init__(self, plane: FakePlane, loop: asyncio.AbstractEventLoop, door: Door) -> None:
        self.plane, self.loop, self.door = plane, loop, door

    @property
    def address(self) -> str:
        return f"localhost:{self.door.port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.door.port), timeout=10)

    def call(self, function: Callable[[], Any]) -> Any:
        """Run a function on the loop's thread."""

        async def run() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)


def listening() -> socket.socket:
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


@contextmanager
def running_door(
    plane: FakePlane | None = None,
    access: Access | None = None,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[RunningDoor]:
    plane = plane or FakePlane()
    house = House(plane, access or Access(), limits or Limits())
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        door = asyncio.run_coroutine_threadsafe(open_grpc(house, listening(), tls), loop).result(10)
        yield RunningDoor(plane, loop, door)
        asyncio.run_coroutine_threadsafe(door.close(0.2), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
