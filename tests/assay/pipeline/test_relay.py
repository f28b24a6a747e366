"""What was accepted is published, whatever the queue did meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from assay.errors import unavailable
from assay.pipeline.relay import Relay
from assay.queue.jobs import Job
from assay.queue.memory import MemoryQueue
from assay.store import Store


class ShyQueue(MemoryQueue):
    """Does not answer until it is told to."""

    answers = False

    async def publish(self, jobs: Sequence[Job]) -> None:
        if not self.answers:
            raise unavailable("the queue does not answer")
        await super().publish(jobs)


def test_cases_accepted_while_the_queue_was_down_are_published_when_it_is_back(
    store: Store, tenant, photographs, submit, run
):
    cases = [submit(store, tenant, photographs(1)) for _ in range(3)]

    async def back_later() -> set[str]:
        queue = ShyQueue()
        relay = Relay(store, queue)
        running = asyncio.create_task(relay.run())
        await asyncio.sleep(0)
        while (await queue.depth()).waiting < 3:
            queue.answers = True
            relay.wake()
            await asyncio.sleep(0.005)
        running.cancel()
        return {lease.job.case_id for lease in await queue.claim(10, 10, 0)}

    assert run(back_later()) == {case.id for case in cases}
    assert store.outbox.pending(10) == []


def test_a_case_that_waits_for_long_is_published_again(settings, store: Store, tenant, photographs, submit, run):
    case = submit(store, tenant, photographs(1))

    async def lost_by_the_queue() -> list[str]:
        await Relay(store, MemoryQueue()).publish_pending()  # and that queue is gone
        late = Store(settings, lambda: case.created_at + timedelta(minutes=10))
        queue = MemoryQueue()
        await Relay(late, queue).publish_stale()
        late.close()
        return [lease.job.case_id for lease in await queue.claim(10, 10, 0)]

    assert run(lost_by_the_queue()) == [case.id]
