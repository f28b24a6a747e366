"""Leases for brokers that have none: the process that holds a job ends its lease itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import uuid4

from assay.queue.jobs import Job, Lease, LeaseLost

Held = TypeVar("Held")


@dataclass
class _Entry(Generic[Held]):
    held: Held
    lease: Lease
    ends_at_s: float


class LeaseBook(Generic[Held]):
    """What this process holds of a broker's, and until when. Of one event loop.

    A timer calls ``give_back`` with what nobody settled in time, though its worker hangs; with the process dies its
    connection, and the broker takes everything back. ``clock`` gives seconds.
    """

    def __init__(self, give_back: Callable[[Lease, Held], Awaitable[None]], clock: Callable[[], float]) -> None:
        self._give_back = give_back
        self._clock = clock
        self._entries: dict[str, _Entry[Held]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._expiring: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, job: Job, attempt: int, held: Held, lease_s: float) -> Lease:
        lease = Lease(job, attempt, uuid4().hex)
        self._put(_Entry(held, lease, self._clock() + lease_s))
        return lease

    def extend(self, lease: Lease, lease_s: float) -> None:
        """Raises LeaseLost."""
        self._put(_Entry(self._pop(lease).held, lease, self._clock() + lease_s))

    @contextmanager
    def settling(self, lease: Lease) -> Generator[Held]:
        """What is held, no longer to be given back; kept after all where the body raises. Raises LeaseLost."""
        entry = self._pop(lease)
        try:
            yield entry.held
        except BaseException:
            self._put(entry)
            raise

    @property
    def leases(self) -> list[Lease]:
        return [entry.lease for entry in self._entries.values()]

    def lose(self, which: Callable[[Held], bool]) -> None:
        """The broker has them again."""
        self._entries = {token: entry for token, entry in self._entries.items() if not which(entry.held)}
        self._watch()

    def clear(self) -> None:
        self.lose(lambda _: True)

    async def expire(self) -> None:
        """Give back what ran out; the timer calls it."""
        ended = [entry for entry in self._entries.values() if entry.ends_at_s <= self._clock()]
        for entry in ended:
            del self._entries[entry.lease.token]
        self._watch()
        for entry in ended:
            await self._give_back(entry.lease, entry.held)

    def _put(self, entry: _Entry[Held]) -> None:
        self._entries[entry.lease.token] = entry
        self._watch()

    def _pop(self, lease: Lease) -> _Entry[Held]:
        entry = self._entries.get(lease.token)
        if entry is None or entry.ends_at_s <= self._clock():
            raise LeaseLost(f"job {lease.job.id}: the lease of attempt {lease.attempt} ran out or was settled before")
        return self._entries.pop(lease.token)

    def _watch(self) -> None:
        """One timer, for the lease that ends first."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._entries:
            left_s = min(entry.ends_at_s for entry in self._entries.values()) - self._clock()
            self._timer = asyncio.get_running_loop().call_later(max(left_s, 0.0), self._ring)

    def _ring(self) -> None:
        expiring = asyncio.ensure_future(self.expire())
        self._expiring.add(expiring)
        expiring.add_done_callback(self._expiring.discard)
