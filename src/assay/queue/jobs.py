"""What a queue of jobs does, whatever it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from assay.cases import Lane

LANES = (Lane.EXPRESS, Lane.NORMAL)  # in the order of claiming


@dataclass(frozen=True)
class Job:
    """One case to judge: its name alone, everything else is read from the store when the job is done."""

    id: str  # the same job published twice while it waits or is leased is done once where the queue can tell
    case_id: str
    lane: Lane
    traceparent: str = ""  # W3C trace context of the request that made it


@dataclass(frozen=True)
class Lease:
    """A job that one worker has for a time. Not acked in time, it is given to another."""

    job: Job
    attempt: int  # 1 the first time
    token: str  # names this lease to the queue


@dataclass(frozen=True)
class DeadLetter:
    """A job that was given up."""

    job: Job
    why: str
    attempts: int


@dataclass(frozen=True)
class Depth:
    """How much lies in a queue, as exactly as it can tell."""

    express: int  # waiting, delayed ones included
    normal: int
    leased: int
    dead: int

    @property
    def waiting(self) -> int:
        return self.express + self.normal


class LeaseLost(Exception):
    """The lease ran out and the job may be someone else's: what was done must not be acked."""


class JobQueue(Protocol):
    """At-least-once delivery. Express jobs first, then in order of publishing. Every call may raise Refusal
    UNAVAILABLE while the queue's server does not answer; the next call connects again."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def publish(self, jobs: Sequence[Job]) -> None:
        """They are durable when this returns (in memory: as durable as the process)."""
        ...

    async def claim(self, most: int, lease_s: float, wait_s: float) -> list[Lease]:
        """Up to ``most`` jobs, waiting up to ``wait_s`` for the first."""
        ...

    async def ack(self, lease: Lease) -> None:
        """Done. Raises LeaseLost."""
        ...

    async def retry(self, lease: Lease, delay_s: float, is_counted: bool = True) -> None:
        """Not before ``delay_s`` from now. An attempt that is not counted was no fault of the job's: the next one has
        its number. Raises LeaseLost."""
        ...

    async def dead(self, lease: Lease, why: str) -> None:
        """Given up: kept where an operator finds it. Raises LeaseLost."""
        ...

    async def extend(self, lease: Lease, lease_s: float) -> None:
        """Keep it for ``lease_s`` from now. Raises LeaseLost."""
        ...

    async def depth(self) -> Depth: ...

    async def dead_letters(self, most: int) -> list[DeadLetter]: ...

    async def revive(self, job_id: str) -> bool:
        """Put a dead letter back in its lane, its attempts counted from 1; False when there is none."""
        ...
