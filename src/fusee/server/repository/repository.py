"""The models of a server, as the data plane asks for them. On the loop's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from time import monotonic

from fusee.server.errors import Reason, ServingError
from fusee.server.plane import Post, Servable
from fusee.server.repository.layout import Refusal, Source, check_name, find_models
from fusee.server.repository.lifecycle import Lifecycle
from fusee.server.repository.loading import Backend
from fusee.server.repository.models import Model, State
from fusee.server.repository.overrides import Overrides
from fusee.server.repository.polling import Poller
from fusee.server.repository.routing import Route
from fusee.server.settings import ModelControl, Settings
from fusee.server.types import Json

EVERYTHING = "*"  # among the models to load at start
LOOK_AGAIN_S = 1.0
Found = Mapping[str, Source | Refusal]


class Repository:
    """Models by name and version. ``backends`` makes servables, by the name of the backend.

    A new version of a model is rolled out in single calls of ``load``: with the parameters canary_version and
    canary_percent, or shadow_version, in its config.pbtxt it answers some requests, or copies of them; without them it
    is the latest and answers all; with a version_policy that names the one before, that answers again. Versions that
    are loaded already are not made anew for it.
    """

    def __init__(self, settings: Settings, backends: Mapping[str, Backend], post: Post) -> None:
        self._settings = settings
        self._lifecycle = Lifecycle(settings, backends, post)
        self._table = self._lifecycle.table
        self._models = self._lifecycle.models
        self._overrides = Overrides(settings)
        self._polling: asyncio.Task[None] | None = None
        self._is_started = False
        self._found: Found = {}  # as the folders were when they were read last
        self._found_s = 0.0
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load what the settings select. A model that cannot be loaded says so in the index."""
        settings = self._settings
        poller = Poller(self._lifecycle, settings)
        if settings.model_control is ModelControl.POLL:
            await poller.begin()
        await self._look()
        found = self._found
        is_selective = settings.model_control is ModelControl.EXPLICIT and EVERYTHING not in settings.load_models
        names = settings.load_models if is_selective else tuple(found)
        refusals = {n: entry.reason for n in names if isinstance(entry := found.get(n), Refusal)}
        self._models.update((name, Model(name, refusal=reason)) for name, reason in refusals.items())
        await self._load_all([n for n in names if n not in refusals])
        self._is_started = True
        if settings.model_control is ModelControl.POLL:
            self._polling = asyncio.get_running_loop().create_task(poller.run())

    async def _load_all(self, names: Sequence[str]) -> None:
        outcomes = await asyncio.gather(
            *(self._lifecycle.load(n, is_explicit=True) for n in names), return_exceptions=True
        )
        for name, outcome in zip(names, outcomes, strict=True):
            if isinstance(outcome, ServingError):
                self._models.setdefault(name, Model(name, refusal=outcome.message))
            elif outcome is not None:
                raise outcome

    async def close(self) -> None:
        """Answer what was accepted, then give everything back."""
        for task in (self._polling, self._looking):
            if task is not None:
                task.cancel()
        await self._lifecycle.close()
        self._overrides.close()

    def find(self, name: str, version: str) -> Servable:
        """The servable of a name and version, '' by policy. Raises ServingError NOT_FOUND or UNAVAILABLE."""
        try:
            return self._table[name, version]
        except KeyError:
            if not self._is_started and name not in self._models:
                raise self._starting(name) from None
            return self._lifecycle.find(name, version)

    def _starting(self, name: str) -> ServingError:
        """Why a name is not known before the first models are."""
        return ServingError(Reason.UNAVAILABLE, f"model '{name[:200]}': the server is starting; try again", 1.0)

    def index(self, ready_only: bool) -> list[Json]:
        """Every model: loaded, being loaded, refused with the reason, or just there. Reads the folders."""
        return self._index(ready_only, {} if ready_only else find_models(self._settings.repository))

    def listing(self) -> list[Json]:
        """The whole index for pages that are drawn often: what is just there is as it was when one was drawn last, or a
        second before that."""
        is_due = self._is_started and monotonic() - self._found_s >= LOOK_AGAIN_S
        if is_due and self._looking is None and not self._lifecycle.is_closed:
            self._looking = asyncio.get_running_loop().create_task(self._look())
        return self._index(False, self._found)

    async def _look(self) -> None:
        """Read the folders, off the loop's thread."""
        try:
            self._found = await self._lifecycle.read(find_models, self._settings.repository)
        finally:
            self._found_s, self._looking = monotonic(), None

    def _index(self, ready_only: bool, found: Found) -> list[Json]:
        loaded = {m.name: m.documents(ready_only) for m in self._models.values()}
        entries = {name: documents for name, documents in loaded.items() if documents}
        for name, model in found.items():
            entries.setdefault(name, [_not_loaded(model)])
        return [document for name in sorted(entries) for document in entries[name]]

    def is_ready(self) -> bool:
        """Whether the server answers: with strict readiness, only when all models that it is to have do."""
        if not self._is_started or self._lifecycle.is_closed:
            return False
        return not self._settings.strict_readiness or all(m.is_ready for m in self._models.values() if m.is_wanted)

    def is_model_ready(self, name: str, version: str) -> bool:
        return (name, version) in self._table

    def versions(self, name: str) -> list[str]:
        """The versions that answer, ascending."""
        model = self._models.get(name)
        return sorted(model.ready(), key=int) if model else []

    def servables(self) -> list[Servable]:
        """Everything that answers, by name and version."""
        models = [self._models[name] for name in sorted(self._models)]
        return [x.servable for m in models for _, x in sorted(m.ready().items(), key=lambda item: int(item[0]))]

    def comparison(self, name: str = "") -> list[Json]:
        """What canaries and shadows have shown so far, of one model or of all that have any."""
        routes = [r for (n, v), r in sorted(self._table.items()) if not v and name in ("", n)]
        return [r.document() for r in routes if isinstance(r, Route)]

    async def load(self, name: str, parameters: Mapping[str, Json]) -> None:
        """Load a model, or what changed of it. Raises ServingError; what was loaded before then serves on.

        ``parameters``: ``config`` is a configuration as JSON in place of the folder's, ``file:<version>/<name>``
        base64 files in place of the folder; both only where the settings allow it.
        """
        self._check_control()
        check_name(name)
        override = await self._lifecycle.read(self._overrides.take, name, parameters)
        await self._lifecycle.load(name, override, is_explicit=True)

    async def unload(self, name: str, dependents: bool) -> None:
        """Take a model out of service, and ensembles that ask it. ``dependents`` takes the models along that were
        loaded for this one's sake alone. What was accepted is answered. Raises ServingError."""
        self._check_control()
        model = self._models.get(check_name(name))
        if model is None:
            return
        closing = await self._lifecycle.unload(model)
        if not dependents:
            return
        await asyncio.gather(*closing)
        for other in (self._models.get(n) for n in model.composing):
            if other and not other.is_explicit and not self._lifecycle.dependents(other.name):
                await self._lifecycle.unload(other)

    def _check_control(self) -> None:
        self._lifecycle.check_open()
        control = self._settings.model_control
        if control is not ModelControl.EXPLICIT:
            raise ServingError(
                Reason.UNAVAILABLE,
                f"explicit model load / unload is not allowed: the server runs with --model-control {control.value}",
            )


def _not_loaded(found: Source | Refusal) -> Json:
    if isinstance(found, Source):
        return {"name": found.name}
    return {"name": found.name, "state": State.UNAVAILABLE.value, "reason": found.reason}
