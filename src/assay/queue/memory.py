"""A queue in this process, for tests and for trying things out: what waits in it ends with the process."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import uuid4

from assay.cases import Lane
from assay.queue.bell import Bell
from assay.queue.jobs import LANES, DeadLetter, Depth, Job, Lease, LeaseLost


@dataclass
class _Entry:
    job: Job
    number: int  # in order of publishing
    attempts: int = 0
    ready_at_s: float = 0.0  # when it may be claimed: of a leased job, when its lease ends
    token: str = ""  # '' while nobody has it
    why: str | None = None  # given up

    @property
    def rank(self) -> tuple[int, int]:
        return LANES.index(self.job.lane), self.number


class MemoryQueue:
    """Safe to use from several threads and event loops. ``clock`` gives seconds: leases and delays run by it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._numbers = itertools.count()
        self._bell = Bell()

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        """What waits is kept for the next ``open`` of the same object."""

    async def publish(self, jobs: Sequence[Job]) -> None:
        with self._lock:
            for job in jobs:
                self._add(job)
        self._bell.ring()

    async def claim(self, most: int, lease_s: float, wait_s: float) -> list[Lease]:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while True:
            rings = self._bell.rings
            leases = self._take(most, lease_s)
            remaining_s = until - loop.time()
            if leases or remaining_s <= 0:
                return leases
            await self._bell.wait(rings, min(remaining_s, self._until_ready_s()))

    async def ack(self, lease: Lease) -> None:
        with self._lock:
            del self._entries[self._leased(lease).job.id]

    async def retry(self, lease: Lease, delay_s: float, is_counted: bool = True) -> None:
        with self._lock:
            entry = self._leased(lease)
            entry.token, entry.ready_at_s = "", self._clock() + delay_s
            entry.attempts -= not is_counted
        self._bell.ring()

    async def dead(self, lease: Lease, why: str) -> None:
        with self._lock:
            entry = self._leased(lease)
            entry.token, entry.why = "", why

    async def extend(self, lease: Lease, lease_s: float) -> None:
        with self._lock:
            self._leased(lease).ready_at_s = self._clock() + lease_s

    async def depth(self) -> Depth:
        with self._lock:
            now_s, entries = self._clock(), [e for e in self._entries.values() if e.why is None]
            waiting = [e.job.lane for e in entries if not e.token or e.ready_at_s <= now_s]
            dead = len(self._entries) - len(entries)
        leased = len(entries) - len(waiting)
        return Depth(waiting.count(Lane.EXPRESS), waiting.count(Lane.NORMAL), leased, dead)

    async def dead_letters(self, most: int) -> list[DeadLetter]:
        with self._lock:
            letters = [DeadLetter(e.job, e.why, e.attempts) for e in self._entries.values() if e.why is not None]
        return letters[:most]

    async def revive(self, job_id: str) -> bool:
        with self._lock:
            entry = self._entries.get(job_id)
            if entry is None or entry.why is None:
                return False
            self._add(entry.job)
        self._bell.ring()
        return True

    def _add(self, job: Job) -> None:
        """A job that waits or is leased stays as it is; a dead letter starts anew."""
        entry = self._entries.get(job.id)
        if entry is None or entry.why is not None:
            self._entries[job.id] = _Entry(job, next(self._numbers))

    def _take(self, most: int, lease_s: float) -> list[Lease]:
        with self._lock:
            now_s = self._clock()
            ready = [e for e in self._entries.values() if e.why is None and e.ready_at_s <= now_s]
            return [self._lease(e, now_s + lease_s) for e in heapq.nsmallest(most, ready, key=lambda e: e.rank)]

    def _lease(self, entry: _Entry, ends_at_s: float) -> Lease:
        entry.attempts, entry.ready_at_s, entry.token = entry.attempts + 1, ends_at_s, uuid4().hex
        return Lease(entry.job, entry.attempts, entry.token)

    def _leased(self, lease: Lease) -> _Entry:
        entry = self._entries.get(lease.job.id)
        if entry is None or entry.token != lease.token or entry.ready_at_s <= self._clock():
            raise LeaseLost(f"job {lease.job.id}: the lease of attempt {lease.attempt} ran out or was settled before")
        return entry

    def _until_ready_s(self) -> float:
        """Until the next lease or delay ends."""
        with self._lock:
            ends_s = [e.ready_at_s for e in self._entries.values() if e.why is None]
            return max(min(ends_s, default=float("inf")) - self._clock(), 0.0)
