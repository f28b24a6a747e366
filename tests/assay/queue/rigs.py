"""One queue of each kind, its time in the test's hands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from assay.cases import Lane
from assay.queue.jobs import Job, JobQueue
from assay.queue.kafka import KafkaQueue
from assay.queue.memory import MemoryQueue
from assay.queue.rabbitmq import RabbitQueue
from assay.queue.sqlite import SqliteQueue

WAIT_S = 30.0  # for what has to come: a claim that waits this long has failed


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Rig(Protocol):
    """Queue objects that share one store, as several processes would."""

    tells_duplicates: bool
    clock: Callable[[], float]  # of delays

    async def queue(self) -> JobQueue:
        """Another one, opened."""
        ...

    async def pass_lease(self, seconds: float) -> None:
        """As if no worker had been heard of for so long."""
        ...

    async def pass_delay(self, seconds: float) -> None:
        """As if so much time had passed, or nothing where the time of delays is a server's."""
        ...

    async def close(self) -> None: ...


class MemoryRig:
    tells_duplicates = True

    def __init__(self) -> None:
        self.clock = Clock()
        self._queue = MemoryQueue(self.clock)

    async def queue(self) -> JobQueue:
        await self._queue.open()
        return self._queue

    async def pass_lease(self, seconds: float) -> None:
        self.clock.now_s += seconds

    pass_delay = pass_lease

    async def close(self) -> None:
        await self._queue.close()


class SqliteRig:
    tells_duplicates = True

    def __init__(self, file: Path) -> None:
        self.clock = Clock()
        self._file = file
        self._queues: list[SqliteQueue] = []

    async def queue(self) -> JobQueue:
        queue = SqliteQueue(self._file, self.clock)
        self._queues.append(queue)
        await queue.open()
        return queue

    async def pass_lease(self, seconds: float) -> None:
        self.clock.now_s += seconds

    pass_delay = pass_lease

    async def close(self) -> None:
        await asyncio.gather(*(queue.close() for queue in self._queues))


class RabbitRig:
    """Leases by the test's clock; the time of delays is the broker's."""

    tells_duplicates = False
    clock = staticmethod(time.monotonic)

    def __init__(self, url: str, prefix: str) -> None:
        self._url = f"{url}?prefix={prefix}"
        self._leases = Clock()
        self._queues: list[RabbitQueue] = []

    async def queue(self) -> JobQueue:
        queue = RabbitQueue(self._url, self._leases)
        self._queues.append(queue)
        await queue.open()
        return queue

    async def pass_lease(self, seconds: float) -> None:
        self._leases.now_s += seconds
        for queue in self._queues:
            await queue.expire()

    async def pass_delay(self, seconds: float) -> None:
        pass

    async def close(self) -> None:
        await asyncio.gather(*(queue.close() for queue in self._queues))


class KafkaRig:
    """One object for all: another process gets only what lies in the partitions assigned to it."""

    tells_duplicates = False

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self._queue = KafkaQueue(url, self.clock)

    async def queue(self) -> JobQueue:
        await self._queue.open()
        return self._queue

    async def pass_lease(self, seconds: float) -> None:
        self.clock.now_s += seconds
        await self._queue.expire()

    pass_delay = pass_lease

    async def close(self) -> None:
        await self._queue.close()


def a_job(name: str, lane: Lane = Lane.NORMAL) -> Job:
    return Job(f"job-{name}", f"case-{name}", lane, f"00-{name}-01")
