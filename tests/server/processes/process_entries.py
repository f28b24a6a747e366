"""What the processes of the supervisor's tests run: a plane that doubles, and a front end that speaks one line."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping

import numpy as np

from fusee.server.errors import Reason, ServingError, not_found
from fusee.server.processes.child import Engine, FrontEnd
from fusee.server.types import ANSWERED, Done, InferRequest, InferResponse, Json, Tensor, Ticket


class _Held:
    """A request that waits until it is cancelled."""

    def __init__(self, plane: DoublingPlane, done: Done) -> None:
        self._plane = plane
        self._done: Done | None = done

    def cancel(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            self._plane.cancelled += 1
            done(ServingError(Reason.CANCELLED, "cancelled in the plane"))


class DoublingPlane:
    """Doubles numbers. The model "hold" keeps requests, "parts" answers one element at a time, "absent" is none."""

    def __init__(self) -> None:
        self.held: list[InferRequest] = []
        self.cancelled = 0

    def infer(self, request: InferRequest, done: Done) -> Ticket:
        if request.model == "absent":
            done(not_found("Request for unknown model: 'absent' is not found"))
        elif request.model == "hold":
            self.held.append(request)
            return _Held(self, done)
        elif request.model == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif request.model == "parts":
            self._parts(request, done)
        else:
            done(
                InferResponse(request.model, "1", request.id, tuple(map(_doubled, request.inputs)), request.parameters)
            )
        return ANSWERED

    def _parts(self, request: InferRequest, done: Done) -> None:
        for element in request.inputs[0].values().ravel():
            output = Tensor("out", "FP32", (1,), np.array([element], np.float32))
            done(InferResponse(request.model, "1", request.id, (output,), final=False))
        done(InferResponse(request.model, "1", request.id, ()))

    async def call(self, operation: str, arguments: Mapping[str, Json]) -> Json:
        if operation == "model_metadata":
            raise not_found(f"Request for unknown model: '{arguments['name']}' is not found")
        if operation == "bug":
            raise ZeroDivisionError("a bug")
        if operation == "pid":
            return os.getpid()
        if operation == "server_ready":
            return {"ready": True}
        return {"operation": operation, **arguments}


def _doubled(tensor: Tensor) -> Tensor:
    if tensor.array is None:
        return tensor
    array = tensor.array
    return tensor._replace(
        name=f"{tensor.name}_doubled", array=array if array.dtype == object else np.asarray(array + array)
    )


async def engine(child: Engine) -> None:
    async def processes(_: Mapping[str, Json]) -> Json:
        return [list(p) for p in child.processes()]

    await child.serve(DoublingPlane(), {"processes": processes})
    child.ready({"models": 1})
    await child.stopping.wait()


async def ends_at_once(child: Engine) -> None:
    raise SystemExit(7)


async def front_end(child: FrontEnd) -> None:
    """A line "pid", "engine" or "ready" is answered by a line."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(f"{await _answer(child, line.decode().strip())}\n".encode())
        writer.close()

    server = await asyncio.start_server(serve, sock=child.sockets["line"])
    child.ready()
    await child.stopping.wait()
    server.close()


async def _answer(child: FrontEnd, line: str) -> Json:
    if line == "pid":
        return os.getpid()
    try:
        if line == "ready":
            return (await child.plane.call("server_ready", {}))["ready"]
        return await child.plane.call("pid", {})
    except ServingError as err:
        return f"{err.reason.value}: {err.message}"
