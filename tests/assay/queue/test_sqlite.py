"""What several processes, a crash and a locked file do to the queue in SQLite."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.assay.queue.rigs import WAIT_S, Clock, a_job

from assay.errors import Reason, Refusal
from assay.queue.jobs import Depth
from assay.queue.sqlite import SqliteQueue

pytestmark = pytest.mark.anyio

LEASE_S = 600.0

PUBLISH = """
import asyncio, sys
from pathlib import Path
from assay.cases import Lane
from assay.queue.jobs import Job
from assay.queue.sqlite import SqliteQueue

async def main():
    queue = SqliteQueue(Path(sys.argv[1]))
    for number in range(int(sys.argv[2])):
        await queue.publish([Job(f"job-{sys.argv[3]}-{number}", "case", Lane.NORMAL)])
        print(number, flush=True)
    await queue.close()

asyncio.run(main())
"""
WORK = """
import asyncio, sys
from pathlib import Path
from assay.queue.sqlite import SqliteQueue

async def main():
    queue = SqliteQueue(Path(sys.argv[1]))
    while True:
        for lease in await queue.claim(4, 600.0, 30.0):
            print(lease.job.id, flush=True)
            if lease.job.id == "stop":
                return await queue.close()
            await queue.ack(lease)

asyncio.run(main())
"""


async def start(program: str, *arguments: str | Path) -> asyncio.subprocess.Process:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)


async def lines(processes: Sequence[asyncio.subprocess.Process]) -> list[str]:
    said = [(await process.communicate())[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return [line for text in said for line in text.splitlines()]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "queue.sqlite"


async def test_a_claim_wakes_when_another_process_publishes(file: Path) -> None:
    queue = SqliteQueue(file)
    claim = asyncio.create_task(queue.claim(1, LEASE_S, WAIT_S))

    publisher = await start(PUBLISH, file, "1", "a")

    assert [lease.job.id for lease in await claim] == ["job-a-0"]
    assert await lines([publisher]) == ["0"]
    await queue.close()


async def test_processes_that_publish_and_claim_at_once_share_the_jobs(file: Path) -> None:
    workers = [await start(WORK, file) for _ in range(2)]
    publishers = [await start(PUBLISH, file, "50", name) for name in "ab"]
    await lines(publishers)
    async with asyncio.timeout(WAIT_S):
        queue = SqliteQueue(file)
        while (await queue.depth()).waiting or (await queue.depth()).leased:
            await asyncio.sleep(0)
    connection = sqlite3.connect(file)
    for worker in workers:
        connection.execute("INSERT INTO jobs (id, case_id, lane, traceparent) VALUES ('stop', '', 0, '')")
        connection.commit()
        assert worker.stdout is not None
        while connection.execute("SELECT count(*) FROM jobs WHERE id = 'stop' AND token != ''").fetchone() == (0,):
            await asyncio.sleep(0)
        connection.execute("DELETE FROM jobs")
        connection.commit()
    connection.close()

    done = [line for line in await lines(workers) if line != "stop"]

    assert sorted(done) == sorted(f"job-{name}-{number}" for name in "ab" for number in range(50))
    await queue.close()


async def test_what_was_published_before_a_kill_is_there_after_it(file: Path) -> None:
    publisher = await start(PUBLISH, file, "1000000", "a")
    assert publisher.stdout is not None
    confirmed = [await publisher.stdout.readline() for _ in range(20)]
    publisher.kill()
    confirmed += (await publisher.communicate())[0].splitlines()

    queue = SqliteQueue(file)
    leases = await queue.claim(len(confirmed), LEASE_S, WAIT_S)

    assert [lease.job.id for lease in leases] == [f"job-a-{number}" for number in range(len(confirmed))]
    await queue.close()


async def test_what_a_killed_worker_had_is_given_to_another_when_its_lease_ends(file: Path) -> None:
    clock = Clock()
    clock.now_s = 10_000_000_000.0  # long after the worker's
    queue = SqliteQueue(file, clock)
    worker = await start(WORK.replace("await queue.ack(lease)", "await asyncio.Event().wait()"), file)
    await queue.publish([a_job("a")])
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"job-a\n"
    worker.kill()
    await worker.wait()

    (lease,) = await queue.claim(1, LEASE_S, WAIT_S)

    assert (lease.job, lease.attempt) == (a_job("a"), 2)
    await queue.close()


async def test_a_file_that_stays_locked_is_unavailable_until_it_is_free(file: Path) -> None:
    queue = SqliteQueue(file, busy_s=0.01)
    await queue.open()
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(Refusal, match=r"queue\.sqlite: database is locked; expected a writable SQLite file") as refused:
        await queue.publish([a_job("a")])
    assert refused.value.reason is Reason.UNAVAILABLE
    other.execute("ROLLBACK")
    other.close()

    await queue.publish([a_job("a")])
    assert await queue.depth() == Depth(0, 1, 0, 0)
    await queue.close()


async def test_a_file_that_is_no_database_is_unavailable(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("no database" * 1000)

    queue = SqliteQueue(file)

    with pytest.raises(Refusal, match=r"queue\.sqlite: file is not a database"):
        await queue.open()
    await queue.close()
