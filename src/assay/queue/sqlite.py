"""The queue of an installation without a broker: one SQLite file that several processes share."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from assay.errors import unavailable
from assay.queue.bell import Bell
from assay.queue.jobs import LANES, DeadLetter, Depth, Job, Lease, LeaseLost

Result = TypeVar("Result")

POLL_S = 0.02  # how often a claimer looks for what other processes published

# ready_at_s: when it may be claimed; of a leased job, when its lease ends. why: NULL unless given up.
TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    case_id TEXT NOT NULL,
    lane INTEGER NOT NULL,
    traceparent TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    ready_at_s REAL NOT NULL DEFAULT 0,
    token TEXT NOT NULL DEFAULT '',
    why TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_to_claim ON jobs (lane, number) WHERE why IS NULL;
"""
READY = "SELECT number FROM jobs WHERE why IS NULL AND ready_at_s <= :now_s ORDER BY lane, number LIMIT :most"
CLAIM = f"""
UPDATE jobs SET token = lower(hex(randomblob(16))), attempts = attempts + 1, ready_at_s = :now_s + :lease_s
WHERE number IN ({READY}) RETURNING id, case_id, lane, traceparent, attempts, token, number
"""
INSERT = "INSERT INTO jobs (id, case_id, lane, traceparent) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
MINE = "WHERE id = :id AND token = :token AND why IS NULL AND ready_at_s > :now_s"
DEAD = "SELECT id, case_id, lane, traceparent, why, attempts FROM jobs WHERE why IS NOT NULL ORDER BY number LIMIT ?"
REVIVE = "UPDATE jobs SET attempts = 0, ready_at_s = 0, why = NULL WHERE id = ? AND why IS NOT NULL"
DEPTH = """
SELECT count(*) FILTER (WHERE why IS NULL AND lane = 0 AND (token = '' OR ready_at_s <= :now_s)),
       count(*) FILTER (WHERE why IS NULL AND lane = 1 AND (token = '' OR ready_at_s <= :now_s)),
       count(*) FILTER (WHERE why IS NULL AND token != '' AND ready_at_s > :now_s),
       count(*) FILTER (WHERE why IS NOT NULL)
FROM jobs
"""


class SqliteQueue:
    """Durable over the death of the process and of the machine: every transaction is synced (WAL, synchronous=FULL).

    One object serves one process; another process opens the same file. ``clock`` gives seconds of a clock that
    all of them share: leases and delays run by it. A file that stays locked for ``busy_s`` is UNAVAILABLE.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.time, busy_s: float = 5.0) -> None:
        self._file = file
        self._clock = clock
        self._busy_s = busy_s
        self._bell = Bell()
        self._connection: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = None  # the only one that touches the connection

    async def open(self) -> None:
        await self._run(lambda _: None)

    async def close(self) -> None:
        if self._thread is None:
            return
        await asyncio.wrap_future(self._thread.submit(self._disconnect))
        self._thread.shutdown()
        self._thread = None

    async def publish(self, jobs: Sequence[Job]) -> None:
        def insert(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM jobs WHERE id = ? AND why IS NOT NULL", [(job.id,) for job in jobs])
            connection.executemany(
                INSERT, [(job.id, job.case_id, LANES.index(job.lane), job.traceparent) for job in jobs]
            )

        await self._run(insert)
        self._bell.ring()

    async def claim(self, most: int, lease_s: float, wait_s: float) -> list[Lease]:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while True:
            rings = self._bell.rings
            if await self._is_ready():
                leases = await self._take_or_return(most, lease_s)
                if leases:
                    return leases
            remaining_s = until - loop.time()
            if remaining_s <= 0:
                return []
            await self._bell.wait(rings, min(remaining_s, POLL_S))

    async def ack(self, lease: Lease) -> None:
        await self._settle(lease, "DELETE FROM jobs")

    async def retry(self, lease: Lease, delay_s: float, is_counted: bool = True) -> None:
        change = "UPDATE jobs SET token = '', ready_at_s = :now_s + :delay_s, attempts = attempts - :uncounted"
        await self._settle(lease, change, delay_s=delay_s, uncounted=not is_counted)
        self._bell.ring()

    async def dead(self, lease: Lease, why: str) -> None:
        await self._settle(lease, "UPDATE jobs SET token = '', why = :why", why=why)

    async def extend(self, lease: Lease, lease_s: float) -> None:
        await self._settle(lease, "UPDATE jobs SET ready_at_s = :now_s + :lease_s", lease_s=lease_s)

    async def depth(self) -> Depth:
        now_s = self._clock()
        express, normal, leased, dead = await self._run(lambda c: c.execute(DEPTH, {"now_s": now_s}).fetchone())
        return Depth(express, normal, leased, dead)

    async def dead_letters(self, most: int) -> list[DeadLetter]:
        rows = await self._run(lambda connection: connection.execute(DEAD, (most,)).fetchall())
        return [DeadLetter(_job(row[:4]), why, attempts) for *row, why, attempts in rows]

    async def revive(self, job_id: str) -> bool:
        revived = await self._run(lambda connection: connection.execute(REVIVE, (job_id,)).rowcount)
        self._bell.ring()
        return revived == 1

    async def _is_ready(self) -> bool:
        """Asked before claiming: it takes no lock that would keep writers waiting."""
        asked = {"now_s": self._clock(), "most": 1}
        return (
            await self._run(lambda connection: connection.execute(READY, asked).fetchone(), begin="BEGIN") is not None
        )

    async def _take_or_return(self, most: int, lease_s: float) -> list[Lease]:
        """A claim that is cancelled meanwhile gives back what was on its way."""
        taking = asyncio.ensure_future(self._run(lambda connection: self._take(connection, most, lease_s)))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            for lease in await taking:
                await self._settle(lease, "UPDATE jobs SET token = '', ready_at_s = 0, attempts = attempts - 1")
            raise

    def _take(self, connection: sqlite3.Connection, most: int, lease_s: float) -> list[Lease]:
        asked = {"now_s": self._clock(), "lease_s": lease_s, "most": most}
        rows = sorted(connection.execute(CLAIM, asked), key=lambda row: (row[2], row[6]))
        return [Lease(_job(row[:4]), attempt, token) for *row, attempt, token, _ in rows]

    async def _settle(self, lease: Lease, change: str, **given: float | str) -> None:
        asked = {"id": lease.job.id, "token": lease.token, "now_s": self._clock(), **given}
        if await self._run(lambda connection: connection.execute(f"{change} {MINE}", asked).rowcount) == 0:
            raise LeaseLost(f"job {lease.job.id}: the lease of attempt {lease.attempt} ran out or was settled before")

    async def _run(self, work: Callable[[sqlite3.Connection], Result], begin: str = "BEGIN IMMEDIATE") -> Result:
        """One transaction, beside the event loop: a sync to disk or another process' lock may take a while."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="queue")
        return await asyncio.wrap_future(self._thread.submit(self._transact, work, begin))

    def _transact(self, work: Callable[[sqlite3.Connection], Result], begin: str) -> Result:
        try:
            self._connection = self._connection or self._connect()
            with self._connection as connection:  # commits, or rolls back
                connection.execute(begin)
                return work(connection)
        except (sqlite3.Error, OSError) as err:
            self._disconnect()
            raise unavailable(
                f"queue {self._file}: {err}; expected a writable SQLite file, free of long locks"
            ) from err

    def _connect(self) -> sqlite3.Connection:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._file, timeout=self._busy_s, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(TABLES)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _job(row: Sequence[Any]) -> Job:
    job_id, case_id, lane, traceparent = row
    return Job(job_id, case_id, LANES[lane], traceparent)
