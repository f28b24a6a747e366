"""What is behind the doors, in the process that owns the models."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from fusee.base.errors import RequestError
from fusee.runtime.cores import default_threads
from fusee.runtime.profile import StepTime
from fusee.server.backends import backends
from fusee.server.door import DoorCounts, Page
from fusee.server.local import LocalPlane
from fusee.server.observe import metrics, status
from fusee.server.observe.logs import LogSettings
from fusee.server.observe.machine import Process
from fusee.server.observe.sources import Sources, Stepped, this_process
from fusee.server.observe.tracing import Tracer
from fusee.server.repository.repository import Repository
from fusee.server.settings import Settings
from fusee.server.shared_memory import SharedMemory


def check_repository(settings: Settings) -> None:
    """Raises RequestError for a repository that is no folder."""
    for folder in settings.repository:
        if not folder.is_dir():
            raise RequestError(f"{folder}: is no folder; fusee serve takes folders of models")


class EngineRoom:
    """Models, the plane that asks them, and the pages that show them. Made on the loop's thread."""

    def __init__(
        self,
        settings: Settings,
        counts: DoorCounts,
        processes: Callable[[], Iterable[Process]] = this_process,
    ) -> None:
        check_repository(settings)
        loop = asyncio.get_running_loop()
        self._logs = LogSettings(settings.log_json, has_access=settings.access_log)
        self._logs.open()
        self._tracer = Tracer(settings.otlp_endpoint, settings.trace_file, self._steps)
        self._decoders = ThreadPoolExecutor(default_threads(), "fusee-decode")
        self._models = Repository(settings, backends(self._decoders), loop.call_soon_threadsafe)
        self.plane = LocalPlane(self._models, SharedMemory(settings.shared_memory_prefix), self._tracer, self._logs)
        sources = Sources(
            self._models.servables,
            self._models.listing,
            self._models.comparison,
            processes,
            self._tracer.exemplars,
            counts,
        )
        self.pages: tuple[Page, ...] = (*metrics.pages(sources), *status.pages(sources))

    def _steps(self, model: str, version: str) -> Sequence[StepTime]:
        """For the tracer, on its thread. Of a model that is gone, or is no engine: none."""
        servable = self._models.find(model, version) if self._models.is_model_ready(model, version) else None
        return servable.step_times() if isinstance(servable, Stepped) else ()

    async def load(self) -> list[str]:
        """Load what the repository and the settings say. Gives the models that could not be loaded, and why."""
        await self._models.start()
        gc.collect()
        gc.freeze()  # what is loaded stays: collections in the middle of requests need not look at it
        index = self._models.listing()
        return [f"{m['name']}: {m['reason']}" for m in index if m.get("state") == "UNAVAILABLE" and m.get("reason")]

    async def close(self) -> None:
        """Answer what was accepted and give everything back."""
        await asyncio.to_thread(self._tracer.close)  # first: it asks models for their steps
        await self._models.close()
        self._decoders.shutdown()
        self._logs.close()
