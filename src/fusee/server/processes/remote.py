"""The data plane as a front end has it when the models are in another process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

import numpy as np
import orjson

from fusee.server.errors import Reason, ServingError, invalid
from fusee.server.processes.channel import Channel
from fusee.server.processes.control import Control, open_control
from fusee.server.processes.encoding import decode_answer, encode_request, error_of
from fusee.server.processes.link import Kind, Link
from fusee.server.processes.ring import CorruptError, FullError, Layout, Message, message_bytes
from fusee.server.types import ANSWERED, Done, InferRequest, Json, Ticket, Timing

VERDICT_WAIT_S = 1.0  # for the supervisor to say why the engine process ended
FULL_RETRY_S = 1.0
FIRST_RETRY_S = 1.0  # while an engine process starts


@dataclass(slots=True)
class _UnderWay:
    """A request without its final answer; no ``done`` when the caller cancelled it."""

    timing: Timing
    done: Done | None


class _Ticket:
    def __init__(self, connection: _Connection, number: int) -> None:
        self._connection, self._number = connection, number

    def cancel(self) -> None:
        self._connection.cancel(self._number)


class _Connection:
    """One engine process, from attachment to its end. Each request gets its final answer or its failure, once."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._numbers = count()
        self._requests: dict[int, _UnderWay] = {}
        self._calls: dict[int, asyncio.Future[Json]] = {}
        self._channel: Channel | None = None
        self._control: Control | None = None
        self.is_ready = False  # the engine process takes requests
        self.lost = asyncio.Event()

    async def open(self, link: Link) -> None:
        """Take over a link's descriptors. Raises CorruptError."""
        self._channel = Channel(link.ends, self._layout, True, self._take, _nothing, self._broken)
        self._control = await open_control(link.control, self._told, self._ended)

    def infer(self, request: InferRequest, done: Done) -> Ticket:
        """Send a request. Raises ServingError."""
        assert self._channel is not None
        if len(self._requests) >= self._layout.messages:
            raise _overloaded(f"{len(self._requests)} requests are under way from one front end, as many as may be")
        header, parts = encode_request(request)
        size_bytes = message_bytes(header, parts)
        if size_bytes > self._layout.area_bytes:
            most = self._layout.area_bytes
            raise ServingError(Reason.TOO_LARGE, f"the request has {size_bytes} bytes, the engine process takes {most}")
        number = next(self._numbers)
        try:
            self._channel.send(Kind.REQUEST, number, header, parts)
        except FullError as err:
            raise _overloaded(f"the engine process is behind: {err}") from err
        self._requests[number] = _UnderWay(request.timing, done)
        return _Ticket(self, number)

    def cancel(self, number: int) -> None:
        under_way = self._requests.get(number)
        if under_way is None or under_way.done is None:
            return
        assert self._channel is not None
        self._channel.send_short(Kind.CANCEL, number)
        done, under_way.done = under_way.done, None
        done(ServingError(Reason.CANCELLED, "the request was cancelled"))

    async def call(self, operation: str, arguments: Mapping[str, Json]) -> Json:
        """Raises ServingError."""
        assert self._control is not None
        number = next(self._numbers)
        answer = self._calls[number] = asyncio.get_running_loop().create_future()
        try:
            self._control.send({"call": number, "operation": operation, "arguments": arguments})
            return await answer
        except orjson.JSONEncodeError as err:
            raise invalid(f"{operation}: the arguments cannot be passed on: {err}") from err
        finally:
            del self._calls[number]

    def fail(self, error: ServingError) -> None:
        """Answer all that is under way with that error, and close."""
        self.close()
        for answer in self._calls.values():
            if not answer.done():
                answer.set_exception(error)
        requests, self._requests = self._requests, {}
        for under_way in requests.values():
            if under_way.done is not None:
                under_way.done(error)

    def close(self) -> None:
        self.is_ready = False
        if self._channel is not None:
            self._channel.receive()  # what the engine process still said
            self._channel.close()
        if self._control is not None:
            self._control.close()

    def _take(self, message: Message) -> None:
        under_way = self._requests.get(message.number)
        if message.kind != Kind.ANSWER or under_way is None:
            raise CorruptError(f"message {message.kind} about request {message.number}, which is not under way")
        # a copy: a caller who reads slowly must not keep the ring's room from the others
        answer = decode_answer(message.header, np.array(message.content), under_way.timing)
        if isinstance(answer, ServingError) or answer.final:
            del self._requests[message.number]
        if under_way.done is not None:
            under_way.done(answer)

    def _told(self, document: Json) -> None:
        if "ready" in document:
            self.is_ready = True
            return
        answer = self._calls.get(document["answer"])
        if answer is None or answer.done():
            return  # who called gave up
        if "error" in document:
            answer.set_exception(error_of(document["error"]))
        else:
            answer.set_result(document["result"])

    def _broken(self, why: str) -> None:
        self.is_ready = False
        asyncio.get_running_loop().call_exception_handler({"message": f"the engine process is cut off: {why}"})
        if self._control is not None:
            self._control.close()

    def _ended(self) -> None:
        self.is_ready = False
        self.lost.set()


class RemotePlane:
    """A DataPlane whose models are in the engine process. Each engine process that is started is attached in turn."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._connection: _Connection | None = None
        self._watch: asyncio.Task[None] | None = None
        self._why = "is starting"
        self._retry_after_s: float | None = FIRST_RETRY_S

    async def attach(self, link: Link) -> None:
        """Speak to the engine process at the other end of that link, whose descriptors are taken over.

        Raises CorruptError when the link is none.
        """
        self._drop("was replaced")
        self._why, self._retry_after_s = "is starting", FIRST_RETRY_S
        connection = _Connection(self._layout)
        await connection.open(link)
        self._connection = connection
        self._watch = asyncio.create_task(self._when_lost(connection))

    def ended(self, why: str, retry_after_s: float | None) -> None:
        """The engine process has ended, for that reason ("signal 11"); None: it is not started again."""
        self._retry_after_s = retry_after_s
        self._drop(f"ended ({why})")

    def close(self) -> None:
        """Speak to no engine process any more."""
        self._retry_after_s = None
        self._drop("was stopped")

    def infer(self, request: InferRequest, done: Done) -> Ticket:
        """Send a request to the engine process; what is wrong goes to ``done``."""
        try:
            return self._ready().infer(request, done)
        except ServingError as err:
            done(err)
            return ANSWERED

    async def call(self, operation: str, arguments: Mapping[str, Json]) -> Json:
        """One operation. Raises ServingError. The server is alive when this process is, and not ready without an
        engine process."""
        if operation == "server_live":
            return {"live": True}
        if operation == "server_ready" and not self._is_ready():
            return {"ready": False}
        return await self._ready().call(operation, arguments)

    def _is_ready(self) -> bool:
        return self._connection is not None and self._connection.is_ready

    def _ready(self) -> _Connection:
        connection = self._connection
        if connection is None or not connection.is_ready:
            why = "went away" if connection is not None and connection.lost.is_set() else self._why
            raise ServingError(Reason.UNAVAILABLE, f"the engine process {why}", self._retry_after_s)
        return connection

    def _drop(self, why: str) -> None:
        """Fail what is under way."""
        self._why = why
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        connection, self._connection = self._connection, None
        if connection is not None:
            message = f"the engine process {why} while the request was under way"
            connection.fail(ServingError(Reason.UNAVAILABLE, message, self._retry_after_s))

    async def _when_lost(self, connection: _Connection) -> None:
        """Fail what is under way even if nobody says why the engine process went."""
        await connection.lost.wait()
        await asyncio.sleep(VERDICT_WAIT_S)
        self._watch = None
        self._drop("went away")


def _nothing() -> None:
    """Places that came back wake nobody here: a request that found no room was refused."""


def _overloaded(message: str) -> ServingError:
    return ServingError(Reason.OVERLOADED, message, FULL_RETRY_S)
