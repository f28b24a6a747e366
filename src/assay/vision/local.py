"""The photo engine in this process, behind the same batching as on a server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from assay.errors import Reason, Refusal, unavailable
from assay.vision.answers import INPUT, OUTPUTS, batches, features_of
from assay.vision.engines import PHOTO, identity_of, served_version, serving_folder
from assay.vision.lens import EngineIdentity, Features, Pixels
from fusee.server.door import DoorCounts
from fusee.server.engine_room import EngineRoom
from fusee.server.errors import Reason as ServingReason
from fusee.server.errors import ServingError
from fusee.server.plane import DataPlane
from fusee.server.settings import Settings
from fusee.server.types import InferRequest, InferResponse, Tensor, WantedOutput

_OVERLOADED = (ServingReason.OVERLOADED, ServingReason.EXPIRED)
_WANTED = tuple(WantedOutput(name) for name in OUTPUTS)


class LocalLens:
    """Runs where it is opened: all calls come from that event loop."""

    def __init__(self, engines: Path, threads: int = 0) -> None:
        """``threads`` of the engine's session; 0: one for each core. Raises Refusal UNAVAILABLE."""
        self._engines = engines
        self._threads = threads
        self._identity = identity_of(engines, PHOTO)
        self._room: EngineRoom | None = None

    @property
    def identity(self) -> EngineIdentity:
        return self._identity

    async def open(self) -> None:
        if self._room is not None:
            return
        folder = await asyncio.to_thread(serving_folder, self._engines)
        room = EngineRoom(Settings((folder,), instance_threads=self._threads or None), DoorCounts())
        failures = await room.load()
        if failures:
            await room.close()
            raise unavailable(f"the photo engine cannot run here: {'; '.join(failures)}")
        self._room = room

    async def close(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            await room.close()

    async def look(self, photos: Sequence[Pixels]) -> list[Features]:
        """One request for each MOST_PHOTOS photographs; they run together with those of other callers."""
        if self._room is None:
            raise unavailable("the lens is closed; open it first")
        plane, version = self._room.plane, served_version(self._identity)
        answers = await asyncio.gather(*(_ask(plane, version, batch) for batch in batches(photos)))
        return [features for answer in answers for features in answer]


async def _ask(plane: DataPlane, version: str, batch: Pixels) -> list[Features]:
    answered: asyncio.Future[InferResponse | ServingError] = asyncio.get_running_loop().create_future()

    def done(answer: InferResponse | ServingError) -> None:
        if not answered.done():
            answered.set_result(answer)

    tensor = Tensor(INPUT, "UINT8", batch.shape, batch)
    ticket = plane.infer(InferRequest(PHOTO, version, "", (tensor,), _WANTED), done)
    try:
        answer = await answered
    except asyncio.CancelledError:
        ticket.cancel()
        raise
    if isinstance(answer, ServingError):
        raise _refusal(answer) from answer
    return features_of({t.name: t.values() for t in answer.outputs})


def _refusal(error: ServingError) -> Refusal:
    reason = Reason.OVERLOADED if error.reason in _OVERLOADED else Reason.UNAVAILABLE
    return Refusal(reason, f"the photo engine: {error.message}", error.retry_after_s or 1.0)
