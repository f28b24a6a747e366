"""What HTTP and gRPC doors share: how they are opened and shut, and the pages that others hang in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from fusee.server.access import Access
from fusee.server.operations import Scope
from fusee.server.plane import DataPlane
from fusee.server.settings import Limits

PROBE_BYTES = 64 * 1024
"""The largest body of a request that needs no key: who has none is not to fill the memory that others need."""


def body_limit(limits: Limits, scope: Scope) -> int:
    """The largest body of a request of that scope."""
    return min(PROBE_BYTES, limits.body_bytes) if scope is Scope.OPEN else limits.body_bytes


class Door(Protocol):
    """An open port."""

    @property
    def port(self) -> int: ...

    async def close(self, grace_s: float) -> None:
        """Accept nothing new, finish what is under way within that time, close."""
        ...


class Content(NamedTuple):
    """What a page answers."""

    content_type: str
    body: bytes


class Page(NamedTuple):
    """Something to GET beside the protocol: metrics, the status page, the OpenAPI document."""

    path: str
    scope: Scope
    render: Callable[[], Awaitable[Content]]


class DoorCounts:
    """Requests by door and by the status that they were answered with."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, int]] = Counter()

    def answered(self, door: str, code: int) -> None:
        """A request came through ``door`` ("http", "grpc") and left with that status, in the door's own numbers."""
        self._counts[door, code] += 1

    def items(self) -> Iterable[tuple[tuple[str, int], int]]:
        return sorted(self._counts.items())


@dataclass(frozen=True)
class House:
    """What every door needs: whom to ask, whom to let in, how much to take."""

    plane: DataPlane
    access: Access
    limits: Limits
    counts: DoorCounts = field(default_factory=DoorCounts)
    has_access_log: bool = False
    is_local: bool = False  # for this machine's callers, who need no key: pages of browsers are none of them
