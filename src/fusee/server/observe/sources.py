"""What the pages are drawn from, asked for anew at each drawing, on the loop's thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from fusee.runtime.profile import StepTime
from fusee.server.door import DoorCounts
from fusee.server.observe.exposition import Exemplars
from fusee.server.observe.machine import Process, Processors
from fusee.server.plane import Servable
from fusee.server.scheduling.explain import Explanation
from fusee.server.types import Json


@runtime_checkable
class Queued(Protocol):
    """What a servable with a queue of its own tells besides."""

    @property
    def queue_length(self) -> int: ...


@runtime_checkable
class Explaining(Protocol):
    """What a servable that puts requests together tells besides."""

    def explain(self) -> Sequence[Explanation]: ...


@runtime_checkable
class Stepped(Protocol):
    """What a servable around an engine tells besides, on any thread but the loop's."""

    def step_times(self) -> Sequence[StepTime]: ...


def queue_length(servable: Servable) -> int:
    """Requests that nothing computes yet; of a servable without a queue, those that it has not answered."""
    return servable.queue_length if isinstance(servable, Queued) else servable.statistics.pending


def this_process() -> tuple[Process, ...]:
    return (Process("server", os.getpid()),)


def _no_exemplars() -> Mapping[tuple[str, str], Exemplars]:
    return {}


@dataclass(frozen=True)
class Sources:
    """``index`` gives the answer of the repository index: objects of name, version, state and reason.

    ``comparisons`` gives what canaries and shadows have shown, as ``Repository.comparison`` does. ``exemplars`` are of
    request durations, by model and version.
    """

    servables: Callable[[], Iterable[Servable]]
    index: Callable[[], Iterable[Json]] = tuple
    comparisons: Callable[[], Iterable[Json]] = tuple
    processes: Callable[[], Iterable[Process]] = this_process
    exemplars: Callable[[], Mapping[tuple[str, str], Exemplars]] = _no_exemplars
    doors: DoorCounts = field(default_factory=DoorCounts)
    processors: Processors = field(default_factory=Processors)
