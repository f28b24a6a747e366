"""What a header section asks for: which call, by whom, until when, in which codings."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from time import monotonic_ns
from typing import NamedTuple

from fusee.server.access import Access, Caller
from fusee.server.door import House, body_limit
from fusee.server.errors import Reason, ServingError, invalid
from fusee.server.grpc.compression import ACCEPTED, Coding
from fusee.server.grpc.headers import Fields, read_request
from fusee.server.grpc.requests import Context, RequestReader
from fusee.server.grpc.status import NOT_GRPC, NOT_POST, refusal
from fusee.server.grpc.stream import Buffer, Exchange, Opening, Stream
from fusee.server.observe.logs import log_access
from fusee.server.operations import Scope
from fusee.server.plane import DataPlane
from fusee.server.settings import Limits

_UNIT_NS = {"H": 3600 * 10**9, "M": 60 * 10**9, "S": 10**9, "m": 10**6, "u": 10**3, "n": 1}
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])", re.ASCII)
_RETRY_AFTER_S = 1.0


class Method(NamedTuple):
    """A call that is offered."""

    name: str
    scope: Scope
    begin: Callable[[CallOpening, Stream], Exchange]


class Service:
    """The calls of a door, and what all of them together use."""

    def __init__(self, house: House, methods: Mapping[str, Method]) -> None:
        self.plane: DataPlane = house.plane
        self.access: Access = house.access
        self.limits: Limits = house.limits
        self.counts = house.counts
        self._has_access_log = house.has_access_log
        self.requests = RequestReader(house.limits.tensors)
        self._methods = methods
        self.under_way = 0
        self.held_bytes = 0
        self.watches = 0  # calls of Health/Watch

    def interpret(self, fields: Fields) -> Opening:
        """See ``Application``. Raises MalformedFields."""
        method, path, metadata = read_request(fields)
        if method != "POST":
            return Refusal(NOT_POST)
        if not _is_grpc(metadata.get("content-type", "")):
            return Refusal(NOT_GRPC)
        offered = self._methods.get(path)
        try:
            if offered is None:
                raise ServingError(Reason.UNSUPPORTED, f"method {path} is not offered")
            coding = _request_coding(metadata)
            answered = coding if _accepts(metadata, coding) else Coding.IDENTITY
            return CallOpening(self, offered, metadata, coding, answered, _timeout_ns(metadata))
        except ServingError as err:
            return Refusal(refusal(err))

    def answered(self, opening: CallOpening, code: int, began_ns: int) -> None:
        """A call is over. ``began_ns`` is what ``now_ns`` gave when it began."""
        self.counts.answered("grpc", code)
        if self._has_access_log:
            caller = self.access.name_of(opening.method.scope, opening.metadata.get)
            log_access("grpc", opening.method.name, code, (monotonic_ns() - began_ns) // 1000, caller)

    def now_ns(self) -> int:
        """The time for the access log; nobody asks the clock without one."""
        return monotonic_ns() if self._has_access_log else 0

    def enter(self) -> None:
        """Count a request in. Raises ServingError OVERLOADED; ``leave`` is owed when it does not."""
        if self.under_way >= self.limits.requests:
            raise ServingError(
                Reason.OVERLOADED,
                f"{self.under_way} requests are under way, as many as the server takes",
                _RETRY_AFTER_S,
            )
        self.under_way += 1

    def leave(self) -> None:
        self.under_way -= 1

    def hold(self, size_bytes: int) -> None:
        """Count bytes of bodies in; ``release`` is owed in any case. Raises ServingError OVERLOADED."""
        self.held_bytes += size_bytes
        if self.held_bytes > self.limits.request_bytes:
            raise ServingError(
                Reason.OVERLOADED,
                f"requests of {self.held_bytes} bytes are held, more than the {self.limits.request_bytes} that the "
                "server takes",
                _RETRY_AFTER_S,
            )

    def release(self, size_bytes: int) -> None:
        self.held_bytes -= size_bytes


class CallOpening:
    """A call as its header section asks for it; shared by those that repeat it."""

    __slots__ = ("answer_coding", "coding", "metadata", "method", "service", "timeout_ns", "traceparent")

    def __init__(
        self,
        service: Service,
        method: Method,
        metadata: Mapping[str, str],
        coding: Coding,
        answer_coding: Coding,
        timeout_ns: int | None,
    ) -> None:
        self.service = service
        self.method = method
        self.metadata = metadata
        self.coding = coding
        self.answer_coding = answer_coding
        self.timeout_ns = timeout_ns
        self.traceparent = metadata.get("traceparent", "")

    def begin(self, stream: Stream) -> Exchange:
        """See ``Opening``."""
        return self.method.begin(self, stream)

    @property
    def message_bytes(self) -> int:
        """The largest message of the call."""
        return body_limit(self.service.limits, self.method.scope)

    def check(self) -> Caller:
        """The caller, if it may. Raises ServingError."""
        return self.service.access.check(self.method.scope, self.metadata.get)

    def context(self, is_streaming: bool) -> Context:
        """What requests of a call that begins now share."""
        deadline_ns = None if self.timeout_ns is None else monotonic_ns() + self.timeout_ns
        return Context(deadline_ns, self.traceparent, is_streaming)


class Refusal:
    """An answer that needs no request: of a call that is not offered, or not in this way."""

    def __init__(self, block: bytes) -> None:
        self._block = block

    def begin(self, stream: Stream) -> Exchange:
        """See ``Opening``."""
        stream.send(b"", (), 0, self._block)
        return IGNORED


class _Ignored:
    """The exchange of a stream that is answered already."""

    def receive(self, piece: Buffer) -> None:
        """Nobody reads it."""

    def end(self) -> None:
        """Nothing is owed."""

    def abort(self) -> None:
        """Nothing is under way."""

    def drained(self) -> None:
        """Nothing waits."""

    def waits_for_body(self) -> bool:
        return False


IGNORED = _Ignored()


def _is_grpc(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind in ("application/grpc", "application/grpc+proto")


def _request_coding(metadata: Mapping[str, str]) -> Coding:
    name = metadata.get("grpc-encoding", "identity")
    try:
        return Coding(name)
    except ValueError:
        raise ServingError(
            Reason.UNSUPPORTED, f"grpc-encoding {name!r} is not taken; expected one of {ACCEPTED}"
        ) from None


def _accepts(metadata: Mapping[str, str], coding: Coding) -> bool:
    names = metadata.get("grpc-accept-encoding", "").split(",")
    return coding.value in map(str.strip, names)


def _timeout_ns(metadata: Mapping[str, str]) -> int | None:
    text = metadata.get("grpc-timeout")
    if text is None:
        return None
    match = _TIMEOUT.fullmatch(text)
    if match is None:
        raise invalid(f"grpc-timeout {text!r} is no time; expected up to 8 digits and one of H, M, S, m, u, n")
    return int(match[1]) * _UNIT_NS[match[2]]
