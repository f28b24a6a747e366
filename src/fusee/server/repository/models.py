"""What the repository remembers of each model: its versions, their states, and why."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from fusee.server.plane import Servable
from fusee.server.repository.loading import Loaded, Prepared
from fusee.server.types import Json


class State(Enum):
    """A version's state, under the protocol's names."""

    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass
class VersionState:
    """One version. ``reason`` says why it is not ready or, while it serves, why its replacement failed."""

    state: State
    reason: str = ""
    loaded: Loaded | None = None


@dataclass
class Model:
    """A model that was loaded at least once, or was to be."""

    name: str
    versions: dict[str, VersionState] = field(default_factory=dict[str, VersionState])
    prepared: Prepared | None = None  # as it serves
    refusal: str = ""  # why nothing of it could be tried
    is_wanted: bool = True  # until it is unloaded
    composing: tuple[str, ...] = ()  # the models that it asks, when it is an ensemble
    is_explicit: bool = False  # asked for by name, not for an ensemble's sake
    loads: int = 0  # under way
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_ready(self) -> bool:
        """Whether some version answers."""
        return any(v.state is State.READY for v in self.versions.values())

    @property
    def is_loading(self) -> bool:
        return any(v.state is State.LOADING for v in self.versions.values())

    def ready(self) -> dict[str, Loaded]:
        """What answers, by version."""
        return {v: s.loaded for v, s in self.versions.items() if s.state is State.READY and s.loaded is not None}

    def servables(self) -> Iterator[Servable]:
        for loaded in self.ready().values():
            yield loaded.servable

    def begin(self, versions: tuple[str, ...]) -> None:
        """Versions are about to be loaded; those that answer go on doing so."""
        self.refusal = ""
        for version in versions:
            state = self.versions.get(version)
            if state is None or state.state is not State.READY:
                self.versions[version] = VersionState(State.LOADING)

    def keep(self) -> None:
        """Nothing was to be loaded: what failed before is no more."""
        self.refusal = ""
        for state in self.versions.values():
            if state.state is State.READY:
                state.reason = ""

    def fail(self, versions: tuple[str, ...], reasons: dict[str, str], reason: str) -> None:
        """Loading those versions came to nothing: ready ones stay, the others say why."""
        for version in versions:
            state = self.versions[version]
            state.reason = reasons.get(version, reason)
            if state.state is not State.READY:
                state.state = State.UNAVAILABLE

    def documents(self, ready_only: bool) -> list[Json]:
        """Its entries in the index."""
        if self.refusal and not ready_only and not self.is_ready:
            return [{"name": self.name, "state": State.UNAVAILABLE.value, "reason": self.refusal}]
        return [
            _document(self.name, version, state, self.refusal)
            for version, state in sorted(self.versions.items(), key=lambda item: int(item[0]))
            if state.state is State.READY or not ready_only
        ]


def _document(name: str, version: str, state: VersionState, refusal: str) -> Json:
    entry = {"name": name, "version": version, "state": state.state.value}
    reason = state.reason or refusal
    return {**entry, "reason": reason} if reason else entry
