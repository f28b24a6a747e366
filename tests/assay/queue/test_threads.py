"""One queue object, used by the event loops of several threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.assay.queue.rigs import WAIT_S, a_job

from assay.queue.jobs import Depth, JobQueue
from assay.queue.memory import MemoryQueue
from assay.queue.sqlite import SqliteQueue

THREADS = 4
JOBS = 80


@pytest.mark.parametrize("make", [lambda _: MemoryQueue(), lambda folder: SqliteQueue(folder / "queue.sqlite")])
def test_threads_share_the_jobs_and_wake_each_other(tmp_path: Path, make: Callable[[Path], JobQueue]) -> None:
    queue = make(tmp_path)

    with ThreadPoolExecutor(THREADS) as threads:
        shares = [threads.submit(lambda: asyncio.run(_work(queue, JOBS // THREADS))) for _ in range(THREADS)]
        asyncio.run(_publish(queue))
        done = [job for share in shares for job in share.result()]

    assert sorted(done) == sorted(f"job-{number}" for number in range(JOBS))
    assert asyncio.run(_end(queue)) == Depth(0, 0, 0, 0)


async def _publish(queue: JobQueue) -> None:
    for number in range(JOBS):
        await queue.publish([a_job(f"{number}")])


async def _work(queue: JobQueue, share: int) -> list[str]:
    done: list[str] = []
    while len(done) < share:
        leases = await queue.claim(1, 600.0, WAIT_S)
        assert leases
        await queue.ack(leases[0])
        done.append(leases[0].job.id)
    return done


async def _end(queue: JobQueue) -> Depth:
    depth = await queue.depth()
    await queue.close()
    return depth
