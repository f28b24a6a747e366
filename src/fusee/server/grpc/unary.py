"""Calls of one message and one answer: inference, and every other operation."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from asyncio import Future, Task
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic_ns
from typing import TypeVar

from fusee.server.access import Caller
from fusee.server.errors import Reason, ServingError
from fusee.server.grpc.compression import Coding, decompress
from fusee.server.grpc.messages import PREFIX, PREFIX_BYTES, MessageReader, prefixed
from fusee.server.grpc.responses import write_response
from fusee.server.grpc.service import CallOpening
from fusee.server.grpc.status import ANSWER, CODES, OK, refusal
from fusee.server.grpc.stream import Buffer, Stream
from fusee.server.plane import DataPlane
from fusee.server.types import InferResponse, Ticket

_INLINE_BYTES = 64 * 1024  # compressed on the loop's thread; above that in another
_INLINE_COMPRESSED_BYTES = 4 * 1024  # decompressed there: they can become a thousand times as many

T = TypeVar("T")
Respond = Callable[[DataPlane, bytes], Awaitable[bytes]]
"""Answers a message with one. Raises ServingError."""


class UnaryCall(ABC):
    """Takes the message, and sends the answer or what went wrong."""

    __slots__ = (
        "_began_ns",
        "_caller",
        "_context",
        "_has_entered",
        "_held_bytes",
        "_is_compressed",
        "_is_over",
        "_message",
        "_opening",
        "_reader",
        "_stream",
    )

    def __init__(self, opening: CallOpening, stream: Stream) -> None:
        self._opening = opening
        self._stream = stream
        self._began_ns = opening.service.now_ns()
        self._reader: MessageReader | None = None
        self._message: Buffer | None = None
        self._is_compressed = False
        self._held_bytes = 0
        self._is_over = True
        self._has_entered = False
        self._caller: Caller | None = None
        self._context = opening.context(is_streaming=False)
        self._admit()

    @abstractmethod
    def start(self, message: Buffer) -> None:
        """Begin the work. Raises ServingError."""

    @abstractmethod
    def cancel(self) -> None:
        """Nobody waits for the answer any more."""

    def _admit(self) -> None:
        service = self._opening.service
        try:
            caller = self._opening.check()
            service.access.begin(caller)
        except ServingError as err:
            self._refuse(err)
            return
        self._caller = caller
        self._is_over = False

    def _enter(self) -> None:
        """Count the request in, now that all of it is here: one that is never sent takes nobody's place. Raises
        ServingError."""
        self._opening.service.enter()
        self._has_entered = True

    def receive(self, piece: Buffer) -> None:
        """See ``Exchange``."""
        if self._is_over:
            return
        size_bytes = len(piece)
        self._held_bytes += size_bytes
        try:
            self._opening.service.hold(size_bytes)
            if self._reader is None and self._message is None and size_bytes >= PREFIX_BYTES:
                flag, message_bytes = PREFIX.unpack_from(piece)
                if not flag and message_bytes == size_bytes - PREFIX_BYTES <= self._opening.message_bytes:
                    self._message = piece[PREFIX_BYTES:]
                    return
            self._assemble(piece)
        except ServingError as err:
            self.fail(err)

    def _assemble(self, piece: Buffer) -> None:
        if self._reader is None:
            self._reader = MessageReader(self._opening.message_bytes)
        for message in self._reader.feed(piece):
            if self._message is not None:
                raise ServingError(Reason.INTERNAL, "a second message; this call takes one")
            self._is_compressed, self._message = message

    def end(self) -> None:
        """See ``Exchange``."""
        if self._is_over:
            return
        message = self._message
        self._message = None
        try:
            if message is None or (self._reader is not None and self._reader.is_within):
                raise ServingError(Reason.INTERNAL, "the body ends before its message does; expected one message")
            self._enter()
            if self._is_compressed:
                self._decompress(message)
            else:
                self.start(message)
        except ServingError as err:
            self.fail(err)

    def _decompress(self, message: Buffer) -> None:
        work = partial(decompress, self._opening.coding, message, self._opening.message_bytes)
        if len(message) > _INLINE_COMPRESSED_BYTES:
            self._elsewhere(work, self._start_decompressed)
        else:
            self._start_decompressed(work())

    def _start_decompressed(self, message: Buffer) -> None:
        self._held_bytes += len(message)
        self._opening.service.hold(len(message))
        self.start(message)

    def _elsewhere(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Do long work in a thread, so that other callers need not wait for it, and go on with what it gives."""

        def go_on(future: Future[T]) -> None:
            error = future.exception()
            if self._is_over:
                return
            if isinstance(error, ServingError):
                self.fail(error)
                return
            try:
                then(future.result())
            except ServingError as err:
                self.fail(err)

        asyncio.get_running_loop().run_in_executor(None, work).add_done_callback(go_on)

    def abort(self) -> None:
        """See ``Exchange``."""
        if not self._is_over:
            self._close()
            self.cancel()

    def drained(self) -> None:
        """See ``Exchange``."""
        return  # nothing waits for room

    def waits_for_body(self) -> bool:
        return not self._is_over and not self._stream.is_ended_by_peer

    def answer(self, parts: list[Buffer], size_bytes: int) -> None:
        """Send the answer, unless it came too late."""
        if self._is_over:
            return
        coding = self._opening.answer_coding
        if coding is not Coding.IDENTITY and size_bytes > _INLINE_BYTES:
            self._elsewhere(partial(prefixed, parts, size_bytes, coding), self._send)
        else:
            self._send(prefixed(parts, size_bytes, coding))

    def _send(self, body: tuple[list[Buffer], int]) -> None:
        self._close()
        self._opening.service.answered(self._opening, 0, self._began_ns)
        self._stream.send(ANSWER[self._opening.answer_coding], *body, OK)

    def fail(self, error: ServingError) -> None:
        """Say what went wrong, unless it came too late."""
        if self._is_over:
            return
        self._close()
        self._refuse(error)

    def _refuse(self, error: ServingError) -> None:
        self._opening.service.answered(self._opening, CODES[error.reason], self._began_ns)
        self._stream.send(b"", (), 0, refusal(error))

    def _close(self) -> None:
        self._is_over = True
        service = self._opening.service
        service.release(self._held_bytes)
        if self._has_entered:
            service.leave()
        assert self._caller is not None
        service.access.end(self._caller)


class InferCall(UnaryCall):
    """ModelInfer."""

    __slots__ = ("_ticket",)

    def __init__(self, opening: CallOpening, stream: Stream) -> None:
        self._ticket: Ticket | None = None
        super().__init__(opening, stream)

    def start(self, message: Buffer) -> None:
        """See ``UnaryCall``."""
        service = self._opening.service
        request, _ = service.requests.read(message, self._context)
        self._ticket = service.plane.infer(request, self._done)

    def cancel(self) -> None:
        """See ``UnaryCall``."""
        if self._ticket is not None:
            self._ticket.cancel()

    def _done(self, outcome: InferResponse | ServingError) -> None:
        if isinstance(outcome, ServingError):
            self.fail(outcome)
        else:
            self.answer(*write_response(outcome))


class OperationCall(UnaryCall):
    """A call that is answered in its own time, by a coroutine."""

    __slots__ = ("_respond", "_task")

    def __init__(self, respond: Respond, opening: CallOpening, stream: Stream) -> None:
        self._respond = respond
        self._task: Task[None] | None = None
        super().__init__(opening, stream)

    def start(self, message: Buffer) -> None:
        """See ``UnaryCall``."""
        self._task = asyncio.ensure_future(self._run(bytes(message)))

    def cancel(self) -> None:
        """See ``UnaryCall``."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self, message: bytes) -> None:
        content: bytes | None = None
        try:
            async with asyncio.timeout(self._left_s()):
                content = await self._respond(self._opening.service.plane, message)
        except ServingError as err:
            self.fail(err)
        except TimeoutError:
            self.fail(ServingError(Reason.DEADLINE, "the call took longer than its grpc-timeout"))
        else:
            self.answer([content], len(content))
        finally:  # a bug of the plane's must not leave the caller waiting
            if content is None:
                self.fail(ServingError(Reason.INTERNAL, "the call failed"))

    def _left_s(self) -> float | None:
        deadline_ns = self._context.deadline_ns
        return None if deadline_ns is None else (deadline_ns - monotonic_ns()) * 1e-9
