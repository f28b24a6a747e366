"""Answers HTTP requests, whatever brought them: no sockets here.

The path of an inference is callbacks alone; everything else runs as a task.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from time import monotonic_ns

from fusee.server.access import Caller
from fusee.server.door import House, Page
from fusee.server.errors import Reason, ServingError
from fusee.server.http.answer import infer_response, packed
from fusee.server.http.call import Call
from fusee.server.http.compression import WORTH_BYTES
from fusee.server.http.messages import Refusal, Respond, Response, error_response
from fusee.server.http.openapi import openapi_page
from fusee.server.http.operations import NOT_READY, answer_of, arguments_of, is_probe
from fusee.server.http.raw import raw_request
from fusee.server.http.routes import Router
from fusee.server.http.sites import check_site
from fusee.server.observe.logs import log_access
from fusee.server.operations import INFER
from fusee.server.types import InferResponse, Ticket
from fusee.server.wire import Buffer

_PACKED_HERE_BYTES = 16 * 1024  # above, compressing would keep other callers waiting
_log = logging.getLogger(__name__)


class Core:
    """One per door. ``under_way`` counts requests begun and not yet answered."""

    def __init__(self, house: House, pages: Sequence[Page]) -> None:
        self._plane = house.plane
        self._access = house.access
        self._limits = house.limits
        self.counts = house.counts
        self._has_access_log = house.has_access_log
        self._is_local = house.is_local
        self._router = Router((*pages, openapi_page()))
        self._tasks: set[asyncio.Task[Response]] = set()
        self._held_bytes = 0
        self.under_way = 0

    def handle(
        self, method: str, target: str, headers: Mapping[str, str], body: Buffer, respond: Respond
    ) -> Ticket | None:
        """Answer a whole request: ``respond`` is called once, at once or later on this loop.

        ``target`` is a path and perhaps a query. A ticket comes back when there is something to cancel.
        """
        try:
            call = self.prepare(method, target, headers)
        except Refusal as err:
            respond(err.response)
            return None
        return self.start(call, body, respond)

    def prepare(self, method: str, target: str, headers: Mapping[str, str]) -> Call:
        """What a head asks for. Raises Refusal."""
        if self._is_local:
            check_site(headers)
        return Call(self._router.find(method, target.partition("?")[0]), headers, self._limits)

    def admit(self, call: Call) -> Caller:
        """The caller, if he may ask this. Raises ServingError. Doors ask before they take a large body."""
        return self._access.check(call.endpoint.scope, call.header)

    def start(self, call: Call, body: Buffer, respond: Respond) -> Ticket | None:
        """Answer a prepared call; see ``handle``."""
        if self._has_access_log:
            respond = self._logged(call, respond)
        try:
            caller = self.admit(call)
            self._begin(caller)
        except ServingError as err:
            respond(error_response(err))
            return None

        def answer(response: Response) -> None:
            self.under_way -= 1
            self._access.end(caller)
            respond(response)

        if call.is_compressed:
            return _TaskTicket(self._run(self._unpack(call, body), answer))
        return self._answered(call, body, answer)

    def _answered(self, call: Call, body: Buffer, answer: Respond) -> Ticket | None:
        if call.endpoint.operation == INFER.name:
            return self._infer_raw(call, body, answer) if call.is_raw else self._infer(call, body, answer)
        if call.endpoint.page is not None:
            self._run(_page(call.endpoint.page), answer)
        else:
            self._run(self._operate(call, body), answer)
        return None

    def _logged(self, call: Call, respond: Respond) -> Respond:
        """``respond``, with a line in the access log."""
        began_ns = monotonic_ns()

        def log(response: Response) -> None:
            duration_us = (monotonic_ns() - began_ns) // 1000
            caller = self._access.name_of(call.endpoint.scope, call.header)
            log_access("http", call.endpoint.name, response.status, duration_us, caller)
            respond(response)

        return log

    def log_refused(self, response: Response) -> None:
        """A line in the access log for a request that was no request, or was given up before it was whole."""
        if self._has_access_log:
            log_access("http", "", response.status, 0, "")

    def hold(self, size_bytes: int) -> None:
        """Count bytes of bodies in; ``release`` is owed also when it raises ServingError OVERLOADED."""
        self._held_bytes += size_bytes
        if self._held_bytes > self._limits.request_bytes:
            raise ServingError(
                Reason.OVERLOADED,
                f"the requests under way take {self._limits.request_bytes} bytes, as many as may be",
                1.0,
            )

    def release(self, size_bytes: int) -> None:
        self._held_bytes -= size_bytes

    async def finished(self) -> None:
        """Wait for the tasks under way."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _begin(self, caller: Caller) -> None:
        if self.under_way >= self._limits.requests:
            raise ServingError(Reason.OVERLOADED, f"{self.under_way} requests are under way, as many as may be", 1.0)
        self._access.begin(caller)
        self.under_way += 1

    def _infer(self, call: Call, body: Buffer, answer: Respond) -> Ticket | None:
        try:
            plan, request = call.read(body)
        except ServingError as err:
            answer(error_response(err))
            return None

        def done(outcome: InferResponse | ServingError) -> None:
            self._reply(outcome, plan.binary_outputs, plan.is_binary, call.accepted, answer)

        return self._plane.infer(request, done)

    def _infer_raw(self, call: Call, content: Buffer, answer: Respond) -> Ticket:
        """Ask the model for its input first, then infer."""

        async def run() -> Response:
            config = await self._plane.call("model_config", call.arguments)
            request = raw_request(config, call.arguments.get("version", ""), call.traceparent, content)
            return await _finished(
                lambda respond: self._plane.infer(request, lambda o: self._reply(o, {}, True, call.accepted, respond))
            )

        return _TaskTicket(self._run(run(), answer))

    async def _unpack(self, call: Call, body: Buffer) -> Response:
        """Answer a compressed body: unpacked on another thread, for a little can become much."""
        plain = await asyncio.get_running_loop().run_in_executor(None, call.decompressed, body)
        try:
            self.hold(len(plain))
            return await _finished(lambda respond: self._answered(call, plain, respond))
        finally:
            self.release(len(plain))

    def _reply(
        self,
        outcome: InferResponse | ServingError,
        binary_outputs: Mapping[str, bool],
        is_binary: bool,
        encoding: str,
        answer: Respond,
    ) -> None:
        """Answer with a model's outcome; a large one is compressed on another thread."""
        response = _outcome(outcome, binary_outputs, is_binary)
        if not encoding or (size := sum(map(len, response.content))) < WORTH_BYTES:
            answer(response)
        elif size <= _PACKED_HERE_BYTES:
            answer(packed(response, encoding))
        else:
            self._run(_in_thread(packed, response, encoding), answer)

    async def _operate(self, call: Call, body: Buffer) -> Response:
        operation = call.endpoint.operation
        arguments = arguments_of(operation, call.arguments, body, self._limits.json_depth)
        try:
            answer = await self._plane.call(operation, arguments)
        except ServingError:
            if is_probe(operation):
                return NOT_READY
            raise
        return answer_of(operation, answer)

    def _run(self, work: Coroutine[None, None, Response], answer: Respond) -> asyncio.Task[Response]:
        """Answer with what a coroutine returns or raises, also when it has a bug: somebody is waiting."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)

        def over(task: asyncio.Task[Response]) -> None:
            self._tasks.discard(task)
            answer(_result(task))

        task.add_done_callback(over)
        return task


class _TaskTicket:
    def __init__(self, task: asyncio.Task[Response]) -> None:
        self._task = task

    def cancel(self) -> None:
        self._task.cancel()


async def _page(page: Page) -> Response:
    content_type, body = await page.render()
    return Response(200, ((b"content-type", content_type.encode()),), (body,))


def _outcome(outcome: InferResponse | ServingError, binary_outputs: Mapping[str, bool], is_binary: bool) -> Response:
    if isinstance(outcome, ServingError):
        return error_response(outcome)
    try:
        return infer_response(outcome, binary_outputs, is_binary)
    except ServingError as err:
        return error_response(err)


async def _finished(begin: Callable[[Respond], Ticket | None]) -> Response:
    """The answer of what ``begin`` starts; when nobody waits for it any longer, that is cancelled."""
    answered: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    ticket = begin(lambda response: None if answered.done() else answered.set_result(response))
    try:
        return await answered
    finally:
        if ticket is not None:
            ticket.cancel()


async def _in_thread(work: Callable[[Response, str], Response], response: Response, encoding: str) -> Response:
    return await asyncio.get_running_loop().run_in_executor(None, work, response, encoding)


def _result(task: asyncio.Task[Response]) -> Response:
    if task.cancelled():
        return error_response(ServingError(Reason.CANCELLED, "the request was cancelled"))
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, ServingError):
        return error_response(error)
    _log.error("a request failed by a bug", exc_info=error)
    return error_response(ServingError(Reason.INTERNAL, "the server failed; its log says more"))
