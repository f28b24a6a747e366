"""From the outbox to the queue: what was accepted is published, though the queue was down when it was accepted."""

from __future__ import annotations

import asyncio
import logging

from assay.errors import Refusal
from assay.queue.jobs import JobQueue
from assay.store import Store

POLL_S = 0.25  # for cases that another process accepted; those of this one call ``wake``
MOST = 100  # jobs published at once
SWEEP_S = 30.0
STALE_S = 120.0  # a case that waits longer is published again: done twice, it still has one report
log = logging.getLogger(__name__)


class Relay:
    """Publishes accepted cases. Any number may run beside each other: a job published twice is done once."""

    def __init__(self, store: Store, queue: JobQueue, stale_s: float = STALE_S) -> None:
        self._store = store
        self._queue = queue
        self._stale_s = stale_s
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look at once. Called on the loop's thread."""
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        next_sweep = loop.time()
        while True:
            self._woken.clear()
            try:
                published = await self.publish_pending()
                if loop.time() >= next_sweep:
                    await self.publish_stale()
                    next_sweep = loop.time() + SWEEP_S
            except Refusal as err:
                log.warning("accepted cases wait in the outbox: %s", err.message)
                await self._wait(err.retry_after_s or POLL_S)
                continue
            if published < MOST:
                await self._wait(POLL_S)

    async def publish_pending(self) -> int:
        """What lies in the outbox; how much it was. Raises Refusal UNAVAILABLE."""
        jobs = await asyncio.to_thread(self._store.outbox.pending, MOST)
        if jobs:
            await self._queue.publish(jobs)
            await asyncio.to_thread(self._store.outbox.published, [job.id for job in jobs])
        return len(jobs)

    async def publish_stale(self) -> None:
        """Cases that were published and are long without a report, in case a queue lost them."""
        jobs = await asyncio.to_thread(self._store.outbox.stale, self._stale_s)
        if jobs:
            log.warning("%d cases wait for more than %.0f s; published again", len(jobs), self._stale_s)
            await self._queue.publish(jobs)

    async def _wait(self, most_s: float) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), most_s)
        except TimeoutError:
            return
