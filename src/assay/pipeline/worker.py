"""Workers: they claim jobs, judge cases and finish them, and outlive whatever happens to a single one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from assay.cases import Case, CaseState
from assay.errors import Reason, Refusal
from assay.meter import Meter
from assay.pipeline.judge import Judged
from assay.queue.jobs import JobQueue, Lease, LeaseLost
from assay.store import Store

FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 30.0
CLAIM_WAIT_S = 1.0
PASSING = (Reason.UNAVAILABLE, Reason.OVERLOADED)
log = logging.getLogger(__name__)


class Judge(Protocol):
    """Gives a case its report."""

    async def judge(self, case: Case) -> Judged: ...


@dataclass(frozen=True)
class WorkerLimits:
    """How much a worker takes on, and how long it tries."""

    cases: int  # at once: their photographs run in common batches
    lease_s: float
    most_attempts: int


def retry_delay_s(attempt: int) -> float:
    """Doubles with each attempt."""
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** (attempt - 1))


class Worker:
    """Judges up to ``limits.cases`` at once. A job done twice, by whomever, leaves one report: the first."""

    def __init__(self, store: Store, queue: JobQueue, judge: Judge, limits: WorkerLimits, meter: Meter) -> None:
        self._store = store
        self._queue = queue
        self._judge = judge
        self._limits = limits
        self._meter = meter
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled; then cases under way are given back."""
        try:
            while True:
                await self._fill()
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _fill(self) -> None:
        """Claim what there is room for; wait for room when there is none."""
        room = self._limits.cases - len(self._under_way)
        if room == 0:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            return
        try:
            leases = await self._queue.claim(room, self._limits.lease_s, CLAIM_WAIT_S)
        except Refusal as err:
            log.warning("no jobs for now: %s", err.message)
            await asyncio.sleep(FIRST_DELAY_S)
            return
        for lease in leases:
            task = asyncio.create_task(self._work(lease))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _work(self, lease: Lease) -> None:
        """One job to its end: acked, given back for later, or dead."""
        if lease.attempt > self._limits.most_attempts:  # nobody lived to say why
            await self._give_up(lease, f"{self._limits.most_attempts} attempts ended with their worker or their lease")
            return
        renewing = asyncio.create_task(self._renew(lease))
        try:
            await self._finish(lease.job.case_id)
            await self._settle(self._queue.ack(lease))
        except asyncio.CancelledError:
            await self._settle(self._queue.retry(lease, 0.0, is_counted=False))
            raise
        except Refusal as err:
            await self._give_back(lease, err.message, is_passing=err.reason in PASSING)
        except Exception as err:  # whatever one case's photographs bring about, the next case is judged
            log.exception("case %s, attempt %d", lease.job.case_id, lease.attempt)
            await self._give_back(lease, f"{type(err).__name__}: {err}", is_passing=False)
        finally:
            renewing.cancel()

    async def _finish(self, case_id: str) -> None:
        case = await asyncio.to_thread(self._store.cases.work, case_id)
        if case.state is not CaseState.QUEUED:
            return
        judged = await self._judge.judge(case)
        with self._meter.timed("finish"):
            await asyncio.to_thread(judged.finish, self._store)

    async def _give_back(self, lease: Lease, why: str, is_passing: bool) -> None:
        """For later; given up after too many attempts, of which those do not count that found a service down."""
        if is_passing or lease.attempt < self._limits.most_attempts:
            await self._settle(self._queue.retry(lease, retry_delay_s(lease.attempt), is_counted=not is_passing))
        else:
            await self._give_up(lease, why)

    async def _give_up(self, lease: Lease, why: str) -> None:
        if await self._settle(self._queue.dead(lease, why)):  # first: no case is FAILED without a dead letter
            with suppress(Refusal):  # the relay will have it done again
                await asyncio.to_thread(self._store.cases.fail, lease.job.case_id, why)

    async def _settle(self, told: Coroutine[Any, Any, None]) -> bool:
        """Tell the queue. False: it is down, or gave the job to another, and will have it done again, harmlessly."""
        try:
            await told
            return True
        except LeaseLost as err:
            self._meter.count("job_lease_expired")
            log.warning("a lease ran out before its case was done: %s", err)
        except Refusal as err:
            log.info("the queue was not told: %s", err)
        return False

    async def _renew(self, lease: Lease) -> None:
        """Keep the lease while the case is being judged."""
        while True:
            await asyncio.sleep(self._limits.lease_s / 3)
            with suppress(LeaseLost, Refusal):
                await self._queue.extend(lease, self._limits.lease_s)
