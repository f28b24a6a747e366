"""The engine process's side of the links: feeds the real data plane and sends its answers back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import orjson

from fusee.server.errors import Reason, ServingError
from fusee.server.plane import DataPlane
from fusee.server.processes.channel import Channel
from fusee.server.processes.control import Control, open_control
from fusee.server.processes.encoding import decode_request, encode_error, encode_response, error_document
from fusee.server.processes.link import Kind, Link
from fusee.server.processes.ring import Buffer, CorruptError, FullError, Layout, Message, message_bytes
from fusee.server.types import InferResponse, Json, Ticket, Timing

Operate = Callable[[Mapping[str, Json]], Awaitable[Json]]


class _Waiting(NamedTuple):
    """An answer for which the ring has no room yet."""

    number: int
    header: bytes
    parts: Sequence[Buffer]


class _FrontEnd:
    """One front end, from attachment to its end."""

    def __init__(
        self, plane: DataPlane, layout: Layout, internal: Mapping[str, Operate], gone: Callable[[_FrontEnd], None]
    ) -> None:
        self._plane, self._layout, self._internal, self._gone = plane, layout, internal, gone
        self._tickets: dict[int, Ticket | None] = {}  # None until the plane has given it
        self._waiting: deque[_Waiting] = deque()
        self._calls: set[asyncio.Task[Json]] = set()
        self._channel: Channel | None = None
        self._control: Control | None = None

    async def open(self, link: Link) -> None:
        """Take over a link's descriptors and requests from there. Raises CorruptError."""
        self._channel = Channel(link.ends, self._layout, False, self._take, self._send_waiting, self._broken)
        self._control = await open_control(link.control, self._told, self._ended)
        self._control.send({"ready": True})

    def close(self) -> None:
        """Cancel what is under way: nobody waits for it any more."""
        if self._channel is not None:
            self._channel.close()
        if self._control is not None:
            self._control.close()
        tickets, self._tickets = self._tickets, {}
        for ticket in tickets.values():
            if ticket is not None:
                ticket.cancel()
        for call in self._calls:
            call.cancel()

    def _take(self, message: Message) -> None:
        if message.kind == Kind.CANCEL:
            ticket = self._tickets.get(message.number)
            if ticket is not None:
                ticket.cancel()
            return
        if message.kind != Kind.REQUEST or message.number in self._tickets:
            raise CorruptError(f"message {message.kind} about request {message.number}, which is under way")
        self._infer(message)

    def _infer(self, message: Message) -> None:
        number = message.number
        self._tickets[number] = None
        try:
            request = decode_request(message.header, message.content)
        except ServingError as err:
            self._answer(number, Timing(), err)
            return
        ticket = self._plane.infer(request, partial(self._answer, number, request.timing))
        if number in self._tickets:
            self._tickets[number] = ticket

    def _answer(self, number: int, timing: Timing, answer: InferResponse | ServingError) -> None:
        if number not in self._tickets:
            return  # the front end is gone
        is_final = isinstance(answer, ServingError) or answer.final
        if is_final:
            del self._tickets[number]
        try:
            self._send(self._encoded(number, timing, answer))
        except ServingError as err:
            self._tickets.pop(number, None)
            self._send(_Waiting(number, encode_error(err, timing), ()))

    def _encoded(self, number: int, timing: Timing, answer: InferResponse | ServingError) -> _Waiting:
        """Raises ServingError for an answer that the ring cannot carry."""
        if isinstance(answer, ServingError):
            return _Waiting(number, encode_error(answer, timing), ())
        header, parts = encode_response(answer, timing)
        size_bytes = message_bytes(header, parts)
        if size_bytes > self._layout.area_bytes:
            most = self._layout.area_bytes
            raise ServingError(Reason.TOO_LARGE, f"the answer has {size_bytes} bytes, the ring takes up to {most}")
        return _Waiting(number, header, parts)

    def _send(self, answer: _Waiting) -> None:
        """Send an answer, after those that wait."""
        assert self._channel is not None
        if not self._waiting:
            try:
                self._channel.send(Kind.ANSWER, *answer)
            except FullError:
                pass
            else:
                return
        self._waiting.append(answer)

    def _send_waiting(self) -> None:
        assert self._channel is not None
        while self._waiting:
            try:
                self._channel.send(Kind.ANSWER, *self._waiting[0])
            except FullError:
                return
            self._waiting.popleft()

    def _told(self, document: Json) -> None:
        operate = self._internal.get(document["operation"]) or partial(self._plane.call, document["operation"])
        call = asyncio.ensure_future(operate(document["arguments"]))
        self._calls.add(call)
        call.add_done_callback(partial(self._called, document["call"]))

    def _called(self, number: int, call: asyncio.Task[Json]) -> None:
        self._calls.discard(call)
        if call.cancelled() or self._control is None:
            return
        error = call.exception()
        if error is not None:
            self._control.send({"answer": number, "error": error_document(_serving_error(error))})
            return
        try:
            self._control.send({"answer": number, "result": call.result()})
        except orjson.JSONEncodeError as err:
            self._control.send({"answer": number, "error": error_document(_serving_error(err))})

    def _broken(self, why: str) -> None:
        asyncio.get_running_loop().call_exception_handler({"message": f"a front end is cut off: {why}"})
        self._ended()

    def _ended(self) -> None:
        self.close()
        self._gone(self)


class PlaneServer:
    """Serves a data plane to front ends.

    ``internal``: operations for front ends themselves (metrics, reports), which no door routes to.
    """

    def __init__(self, plane: DataPlane, layout: Layout, internal: Mapping[str, Operate] | None = None) -> None:
        self._plane, self._layout = plane, layout
        self._internal = dict(internal or {})
        self._front_ends: set[_FrontEnd] = set()

    async def attach(self, link: Link) -> None:
        """Serve the front end at the other end of that link, whose descriptors are taken over.

        Raises CorruptError when the link is none.
        """
        front_end = _FrontEnd(self._plane, self._layout, self._internal, self._front_ends.discard)
        self._front_ends.add(front_end)
        await front_end.open(link)

    def close(self) -> None:
        """Serve nobody any more."""
        for front_end in tuple(self._front_ends):
            front_end.close()


def _serving_error(error: BaseException) -> ServingError:
    """The error of a call as a front end is told; what is no ServingError is a bug and is logged too."""
    if isinstance(error, ServingError):
        return error
    asyncio.get_running_loop().call_exception_handler({"message": "a call failed", "exception": error})
    return ServingError(Reason.INTERNAL, f"{type(error).__name__}: {error}")
