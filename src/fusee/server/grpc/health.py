"""The standard health service of gRPC, which Kubernetes' probes ask."""

from __future__ import annotations

import asyncio
from asyncio import Task

from google.protobuf.message import DecodeError

from fusee.server.errors import Reason, ServingError, invalid, not_found
from fusee.server.grpc.compression import Coding
from fusee.server.grpc.messages import MessageReader, prefixed
from fusee.server.grpc.service import CallOpening
from fusee.server.grpc.status import ANSWER, refusal, trailers
from fusee.server.grpc.stream import Buffer, Stream
from fusee.server.plane import DataPlane
from fusee.server.proto.health_pb2 import HealthCheckRequest, HealthCheckResponse

INFERENCE_SERVICE = "inference.GRPCInferenceService"
_WATCH_S = 1.0  # between two looks
_MESSAGE_BYTES = 4096
_MOST_WATCHES = 256  # of a door: they need no key, and each looks every second

_Status = HealthCheckResponse.ServingStatus


async def check(plane: DataPlane, message: bytes) -> bytes:
    """Health/Check: whether the server takes requests. Raises ServingError NOT_FOUND for a service that is not here."""
    status = await _status(plane, _service(message))
    if status == HealthCheckResponse.SERVICE_UNKNOWN:
        raise not_found(f"service {_service(message)!r} is not offered; expected '' or {INFERENCE_SERVICE!r}")
    return HealthCheckResponse(status=status).SerializeToString()


async def _status(plane: DataPlane, service: str) -> _Status:
    if service not in ("", INFERENCE_SERVICE):
        return HealthCheckResponse.SERVICE_UNKNOWN
    answer = await plane.call("server_ready", {})
    return HealthCheckResponse.SERVING if answer["ready"] else HealthCheckResponse.NOT_SERVING


def _service(message: bytes) -> str:
    try:
        return HealthCheckRequest.FromString(message).service
    except DecodeError as err:
        raise invalid(f"the message is no HealthCheckRequest: {err}") from err


class WatchCall:
    """Health/Watch: the status now, and every time that it changes, until the peer has had enough."""

    def __init__(self, opening: CallOpening, stream: Stream) -> None:
        self._service = opening.service
        self._plane = opening.service.plane
        self._stream = stream
        self._reader = MessageReader(_MESSAGE_BYTES)
        self._message: bytes | None = None
        self._task: Task[None] | None = None

    def receive(self, piece: Buffer) -> None:
        """See ``Exchange``."""
        try:
            for message in self._reader.feed(piece):
                self._message = bytes(message.content)
        except ServingError as err:
            self._fail(err)

    def end(self) -> None:
        """See ``Exchange``."""
        if self._message is None:
            self._fail(ServingError(Reason.INTERNAL, "the body ends before its message does; expected one message"))
            return
        try:
            service = _service(self._message)
            if self._service.watches >= _MOST_WATCHES:
                raise ServingError(
                    Reason.OVERLOADED, f"{_MOST_WATCHES} callers watch, as many as may; use Health/Check", _WATCH_S
                )
        except ServingError as err:
            self._fail(err)
            return
        self._stream.send(ANSWER[Coding.IDENTITY], (), 0, None)
        self._service.watches += 1
        self._task = asyncio.ensure_future(self._watch(service))
        self._task.add_done_callback(self._ended)

    def abort(self) -> None:
        """See ``Exchange``."""
        if self._task is not None:
            self._task.cancel()

    def drained(self) -> None:
        """Nothing waits for room."""

    def waits_for_body(self) -> bool:
        return self._task is None

    async def _watch(self, service: str) -> None:
        try:
            await self._tell(service)
        except ServingError as err:
            self._stream.send(b"", (), 0, trailers(err))

    def _ended(self, _: Task[None]) -> None:
        self._service.watches -= 1

    async def _tell(self, service: str) -> None:
        told: _Status | None = None
        while True:
            status = await _status(self._plane, service)
            if status != told:
                told = status
                content = HealthCheckResponse(status=status).SerializeToString()
                self._stream.send(b"", *prefixed([content], len(content), Coding.IDENTITY), None)
            await asyncio.sleep(_WATCH_S)

    def _fail(self, error: ServingError) -> None:
        self._stream.send(b"", (), 0, refusal(error))
