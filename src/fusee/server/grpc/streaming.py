"""ModelStreamInfer: many requests on one stream, each answered when its answer is ready."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from fusee.server.access import Caller
from fusee.server.errors import Reason, ServingError
from fusee.server.grpc.compression import decompress
from fusee.server.grpc.messages import PREFIX_BYTES, Message, MessageReader, prefixed
from fusee.server.grpc.responses import write_stream_error, write_stream_response
from fusee.server.grpc.service import CallOpening
from fusee.server.grpc.status import ANSWER, CODES, OK, refusal, trailers
from fusee.server.grpc.stream import Buffer, Stream
from fusee.server.types import InferResponse, Ticket

_UNDER_WAY = 64  # requests of one stream
_WAITING_BYTES = 1024 * 1024  # of answers that the peer has not taken, beyond which no request is started
_MESSAGE_BYTES = 512  # that a message takes here beside its content: millions of empty ones fit into a window
_FINAL = "triton_final_response"


class _Held(NamedTuple):
    """A message that waits for its turn, and the bytes that it holds."""

    message: Message
    size_bytes: int


class StreamCall:
    """The stream. Its requests come and go; it ends when the peer has sent its last and all are answered."""

    def __init__(self, opening: CallOpening, stream: Stream) -> None:
        self._opening = opening
        self._service = opening.service
        self._stream = stream
        self._began_ns = opening.service.now_ns()
        self._reader = MessageReader(opening.service.limits.body_bytes)
        self._waiting: deque[_Held] = deque()
        self._partial_bytes = 0  # held of messages that are not complete
        self._under_way: set[_StreamedRequest] = set()
        self._fails_whole = opening.metadata.get("triton_grpc_error", "").lower() == "true"
        self._context = opening.context(is_streaming=True)
        self._is_ended_by_peer = False
        self._is_over = False
        self._is_advancing = False
        self._caller: Caller | None = None
        try:
            self._caller = opening.check()
        except ServingError as err:
            self._is_over = True
            self._service.answered(opening, CODES[err.reason], self._began_ns)
            stream.send(b"", (), 0, refusal(err))
            return
        stream.send(ANSWER[opening.answer_coding], (), 0, None)

    def receive(self, piece: Buffer) -> None:
        """See ``Exchange``."""
        if self._is_over:
            return
        self._partial_bytes += len(piece)
        try:
            self._service.hold(len(piece))
            messages = self._reader.feed(piece)
        except ServingError as err:
            self._fail(err)
            return
        for message in messages:
            self._partial_bytes -= PREFIX_BYTES + len(message.content)
            self._waiting.append(_Held(message, _MESSAGE_BYTES + len(message.content)))
        try:
            self._service.hold(len(messages) * (_MESSAGE_BYTES - PREFIX_BYTES))
        except ServingError as err:
            self._fail(err)
            return
        self._advance()

    def end(self) -> None:
        """See ``Exchange``."""
        self._is_ended_by_peer = True
        if self._reader.is_within:
            self._fail(ServingError(Reason.INTERNAL, "the body ends before its last message does"))
        else:
            self._advance()

    def abort(self) -> None:
        """See ``Exchange``."""
        if not self._is_over:
            self._close()

    def drained(self) -> None:
        """See ``Exchange``."""
        self._advance()

    def waits_for_body(self) -> bool:
        """See ``Exchange``: between messages a peer may be silent."""
        return self._reader.is_within and not self._stream.holds_window

    def finish(self, request: _StreamedRequest, size_bytes: int) -> None:
        """A request was answered for the last time."""
        if request in self._under_way:
            self._under_way.discard(request)
            self._leave(size_bytes)
            self._advance()

    def send(self, parts: list[Buffer], size_bytes: int) -> None:
        """Send one answer."""
        if not self._is_over:
            body, body_bytes = prefixed(parts, size_bytes, self._opening.answer_coding)
            self._stream.send(b"", body, body_bytes, None)

    def fail_one(self, error: ServingError, request_id: str) -> None:
        """A request failed: say so among the answers, or end the stream if the caller asked for that."""
        if self._fails_whole:
            self._fail(error)
        else:
            self.send(*write_stream_error(error.message, request_id))

    def _advance(self) -> None:
        """Start what may be started; end when nothing is left."""
        if self._is_advancing:  # a request that is answered at once comes back here
            return
        self._is_advancing = True
        while self._waiting and not self._is_over and self._has_room():
            self._start(self._waiting.popleft())
        self._is_advancing = False
        if self._is_over:
            return
        if self._stream.holds_window != bool(self._waiting):
            self._stream.hold(bool(self._waiting))
        if self._is_ended_by_peer and not self._waiting and not self._under_way:
            self._close()
            self._service.answered(self._opening, 0, self._began_ns)
            self._stream.send(b"", (), 0, OK)

    def _has_room(self) -> bool:
        return len(self._under_way) < _UNDER_WAY and self._stream.waiting_bytes < _WAITING_BYTES

    def _start(self, held: _Held) -> None:
        """Start a request; what is wrong with it is its own."""
        try:
            self._enter()
        except ServingError as err:
            self._service.release(held.size_bytes)
            self.fail_one(err, "")
            return
        request = _StreamedRequest(self, held.size_bytes)
        self._under_way.add(request)
        try:
            content = held.message.content
            if held.message.is_compressed:
                content = decompress(self._opening.coding, content, self._service.limits.body_bytes)
                request.size_bytes += len(content)
                self._service.hold(len(content))
            asked, plan = self._service.requests.read(content, self._context)
        except ServingError as err:
            request.done(err)
            return
        request.begin(asked.id, plan.wants_empty_final)
        request.ticket = self._service.plane.infer(asked, request.done)

    def _enter(self) -> None:
        assert self._caller is not None
        self._service.enter()
        try:
            self._service.access.begin(self._caller)
        except ServingError:
            self._service.leave()
            raise

    def _leave(self, size_bytes: int) -> None:
        assert self._caller is not None
        self._service.access.end(self._caller)
        self._service.leave()
        self._service.release(size_bytes)

    def _fail(self, error: ServingError) -> None:
        if not self._is_over:
            self._close()
            self._service.answered(self._opening, CODES[error.reason], self._began_ns)
            self._stream.send(b"", (), 0, trailers(error))

    def _close(self) -> None:
        self._is_over = True
        self._service.release(self._partial_bytes + sum(h.size_bytes for h in self._waiting))
        self._waiting.clear()
        under_way, self._under_way = self._under_way, set()
        for request in under_way:
            self._leave(request.size_bytes)
            if request.ticket is not None:
                request.ticket.cancel()


class _StreamedRequest:
    """One request of a stream."""

    __slots__ = ("_call", "_id", "_wants_empty_final", "size_bytes", "ticket")

    def __init__(self, call: StreamCall, size_bytes: int) -> None:
        self._call = call
        self._id = ""
        self._wants_empty_final = False
        self.size_bytes = size_bytes
        self.ticket: Ticket | None = None

    def begin(self, request_id: str, wants_empty_final: bool) -> None:
        self._id = request_id
        self._wants_empty_final = wants_empty_final

    def done(self, outcome: InferResponse | ServingError) -> None:
        """Take an answer."""
        if isinstance(outcome, ServingError):
            self._call.fail_one(outcome, self._id)
        elif outcome.outputs or not outcome.final or self._wants_empty_final:
            outcome.parameters = {**outcome.parameters, _FINAL: outcome.final}
            self._call.send(*write_stream_response(outcome))
        if isinstance(outcome, ServingError) or outcome.final:
            self._call.finish(self, self.size_bytes)
