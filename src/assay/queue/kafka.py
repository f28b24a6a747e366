"""A queue in Kafka, for installations that have nothing else. Kafka is a log, not a queue; what follows from that:

- A partition belongs to one process of the group: no more processes work than there are partitions, and what lies
  behind another's job waits for that process. Within a process jobs are leased and settled in any order.
- Offsets are committed in order, so what was acked behind a job still leased is delivered again after a crash, with
  the attempt it had: an attempt that ended its process is not counted.
- A lease that ran out goes to another claimer of the same process; to another process only when this one has not
  claimed for ``MOST_SILENT_S``, or has died, or its partition moves (what was leased of it is lost then).
- A job published twice is delivered twice.

Topics: <prefix>-express, <prefix>-normal, <prefix>-<lane>-retry (read at once, claimed when due), <prefix>-dead
(by job, compacted: a record without a value revives).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError, TopicAlreadyExistsError, for_code

from assay.cases import Lane
from assay.errors import invalid, unavailable
from assay.queue.jobs import LANES, DeadLetter, Depth, Job, Lease, LeaseLost
from assay.queue.leases import LeaseBook
from assay.queue.wire import read_job, write_job

ANSWER_S = 10.0  # the brokers have so long to answer one call
HANG_UP_S = 2.0
LOOK_S = 0.5  # a claimer that waits asks so often whether the brokers are still there
MOST_SILENT_S = 300.0  # between two claims: then the group goes on without this process
MOST_READ = 1000  # records held here, leased or not: then no more are read

BROKER_ERRORS = (KafkaError, OSError, TimeoutError)
Headers = list[tuple[str, bytes]]
Record = ConsumerRecord[bytes, bytes]
Client = AIOKafkaConsumer | AIOKafkaProducer


@dataclass(frozen=True)
class _Read:
    """One record that this process has read and not settled."""

    job: Job
    attempts: int  # before
    ready_at_s: float
    partition: TopicPartition
    offset: int
    timestamp_ms: int

    @property
    def rank(self) -> tuple[int, int, int]:
        return LANES.index(self.job.lane), self.timestamp_ms, self.offset


@dataclass
class _Progress:
    """Of one partition."""

    next_offset: int  # to be read
    unsettled: set[int] = field(default_factory=set[int])

    @property
    def to_commit(self) -> int:
        return min(self.unsettled, default=self.next_offset)

    @property
    def settled_early(self) -> int:
        return self.next_offset - self.to_commit - len(self.unsettled)


class KafkaQueue(ConsumerRebalanceListener):
    """Of one event loop. ``url``: kafka://host:port,host:port/prefix?partitions=8&replicas=1&session_s=10.

    Topics are named by the prefix (``jobs``) and made when they are missing; with ``partitions=0`` an operator makes
    them. A process that is silent for ``session_s`` is dead to the group. ``clock`` gives seconds that all processes
    share: leases and delays run by it.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.time, answer_s: float = ANSWER_S) -> None:
        split = urlsplit(url)
        options = {"partitions": "8", "replicas": "1", "session_s": "10"} | dict(parse_qsl(split.query))
        if not all(option.isdecimal() for option in options.values()):
            raise invalid(f"setting queue_url: {split.query!r}; expected whole numbers of {', '.join(options)}")
        self._servers = split.netloc
        self._prefix = split.path.strip("/") or "jobs"
        self._partitions, self._replicas = int(options["partitions"]), int(options["replicas"])
        self._session_s = int(options["session_s"])
        self._clock = clock
        self._answer_s = answer_s
        self._book: LeaseBook[_Read] = LeaseBook(self._put_back, clock)
        self._ready: list[_Read] = []
        self._progress: dict[TopicPartition, _Progress] = {}
        self._connecting = asyncio.Lock()
        self._dead_reading = asyncio.Lock()
        self._stopping: set[asyncio.Task[None]] = set()
        self._producer: AIOKafkaProducer | None = None
        self._reader: AIOKafkaConsumer | None = None  # of dead letters and depths: in no group
        self._claimer: AIOKafkaConsumer | None = None  # joins the group at the first claim: publishers never do

    async def open(self) -> None:
        async with self._answering():
            pass

    async def close(self) -> None:
        await self._disconnect()

    async def publish(self, jobs: Sequence[Job]) -> None:
        async with self._answering() as producer:
            await asyncio.gather(*(self._send(producer, self._lane(job.lane), job) for job in jobs))

    async def claim(self, most: int, lease_s: float, wait_s: float) -> list[Lease]:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while True:
            remaining_s = until - loop.time()
            async with self._answering():
                await self._read(0.0 if self._due() else max(min(remaining_s, LOOK_S), 0.0))
            leases = [self._lease(read, lease_s) for read in sorted(self._due(), key=lambda read: read.rank)[:most]]
            if leases or remaining_s <= 0:
                return leases

    async def ack(self, lease: Lease) -> None:
        async with self._answering():
            with self._book.settling(lease) as read:
                await self._settle(read)

    async def retry(self, lease: Lease, delay_s: float, is_counted: bool = True) -> None:
        attempts, ready_at_s = lease.attempt - (not is_counted), self._clock() + delay_s
        headers = [("attempts", b"%d" % attempts), ("ready_at_s", repr(ready_at_s).encode())]
        async with self._answering() as producer:
            with self._book.settling(lease) as read:
                await self._send(producer, self._retries(lease.job.lane), lease.job, headers)
                await self._settle(read)

    async def dead(self, lease: Lease, why: str) -> None:
        headers = [("attempts", b"%d" % lease.attempt), ("why", why.encode())]
        async with self._answering() as producer:
            with self._book.settling(lease) as read:
                await self._send(producer, self._dead, lease.job, headers, key=lease.job.id)
                await self._settle(read)

    async def extend(self, lease: Lease, lease_s: float) -> None:
        async with self._answering():
            self._book.extend(lease, lease_s)

    async def expire(self) -> None:
        """Put back the leases that ran out; a timer does it, too."""
        await self._book.expire()

    async def depth(self) -> Depth:
        """``leased`` counts this process' own; others' count as waiting, as does what they settled out of order."""
        async with self._answering() as producer:
            express, normal = [await self._waiting(producer, lane) for lane in LANES]
            dead = len(await self._dead_by_id(producer))
        return Depth(express, normal, len(self._book), dead)

    async def dead_letters(self, most: int) -> list[DeadLetter]:
        async with self._answering() as producer:
            return list((await self._dead_by_id(producer)).values())[:most]

    async def revive(self, job_id: str) -> bool:
        async with self._answering() as producer:
            letter = (await self._dead_by_id(producer)).get(job_id)
            if letter is None:
                return False
            await self._send(producer, self._lane(letter.job.lane), letter.job)
            await producer.send_and_wait(self._dead, None, key=job_id.encode())
        return True

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """They are not another's before they are assigned."""

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """What is no longer ours is read by another from its last commit."""
        kept = set(assigned)
        self._progress = {partition: told for partition, told in self._progress.items() if partition in kept}
        self._ready = [read for read in self._ready if read.partition in kept]
        self._book.lose(lambda read: read.partition not in kept)

    def _due(self) -> list[_Read]:
        return [read for read in self._ready if read.ready_at_s <= self._clock()]

    def _lease(self, read: _Read, lease_s: float) -> Lease:
        self._ready.remove(read)
        return self._book.add(read.job, read.attempts + 1, read, lease_s)

    async def _put_back(self, lease: Lease, read: _Read) -> None:
        self._ready.append(replace(read, attempts=lease.attempt, ready_at_s=0.0))

    async def _read(self, wait_s: float) -> None:
        """Records that came, waiting for the first; the brokers are asked for a sign of life where none did."""
        claimer = await self._claiming()
        held = len(self._ready) + len(self._book)
        (claimer.pause if held >= MOST_READ else claimer.resume)(*claimer.assignment())
        came = await claimer.getmany(timeout_ms=round(wait_s * 1000))
        if not came:
            await claimer.topics()
        for partition, records in came.items():
            for record in records:
                self._keep(partition, record)

    def _keep(self, partition: TopicPartition, record: Record) -> None:
        progress = self._progress.setdefault(partition, _Progress(record.offset))
        if record.offset < progress.next_offset:
            return  # read before a rebalance that left the partition here
        progress.next_offset = record.offset + 1
        progress.unsettled.add(record.offset)
        headers = dict(record.headers)
        try:
            job = read_job(record.value or b"")
            attempts, ready_at_s = int(headers.get("attempts", b"0")), float(headers.get("ready_at_s", b"0"))
        except ValueError:
            progress.unsettled.discard(record.offset)  # no job of ours: it would come again for ever
            return
        self._ready.append(_Read(job, attempts, ready_at_s, partition, record.offset, record.timestamp))

    async def _settle(self, read: _Read) -> None:
        """Raises LeaseLost where the partition was given to another process."""
        progress = self._progress.get(read.partition)
        if progress is None:
            raise _moved(read)
        progress.unsettled.discard(read.offset)
        try:
            await (await self._claiming()).commit({read.partition: progress.to_commit})
        except (CommitFailedError, IllegalStateError) as err:
            raise _moved(read) from err

    async def _send(
        self, producer: AIOKafkaProducer, topic: str, job: Job, headers: Headers | None = None, key: str = ""
    ) -> None:
        """All replicas in sync have it when this returns."""
        await producer.send_and_wait(topic, write_job(job), key=(key or job.case_id).encode(), headers=headers or [])

    async def _waiting(self, producer: AIOKafkaProducer, lane: Lane) -> int:
        """What was published and not committed, without what this process has leased or settled."""
        reader = await self._reading()
        places = [
            place for topic in (self._lane(lane), self._retries(lane)) for place in await _places(producer, topic)
        ]
        ends, begins = await reader.end_offsets(places), await reader.beginning_offsets(places)
        committed = [await reader.committed(place) or begins[place] for place in places]
        settled = sum(told.settled_early for place, told in self._progress.items() if place in ends)
        leased = sum(lease.job.lane is lane for lease in self._book.leases)
        return sum(ends.values()) - sum(committed) - settled - leased

    async def _dead_by_id(self, producer: AIOKafkaProducer) -> Mapping[str, DeadLetter]:
        """All of them, read from the beginning. What is no job is left out."""
        reader = await self._reading()
        letters: dict[str, DeadLetter] = {}
        async with self._dead_reading:
            ends = await reader.end_offsets(await _places(producer, self._dead))
            reader.assign(list(ends))
            await reader.seek_to_beginning(*ends)
            while any([await reader.position(place) < end for place, end in ends.items()]):
                for records in (await reader.getmany(timeout_ms=round(LOOK_S * 1000))).values():
                    for record in records:
                        _fold(letters, record)
            reader.unsubscribe()  # it would go on fetching
        return letters

    @asynccontextmanager
    async def _answering(self) -> AsyncGenerator[AIOKafkaProducer]:
        """The brokers, connected again if need be. What they do not answer in time is UNAVAILABLE."""
        try:
            async with asyncio.timeout(self._answer_s):
                yield await self._producing()
        except BROKER_ERRORS as err:
            await self._disconnect()
            expected = f"expected an answer within {self._answer_s:g} s"
            raise unavailable(f"queue: Kafka at {self._servers}: {err!r}; {expected}") from err

    async def _producing(self) -> AIOKafkaProducer:
        async with self._connecting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._servers,
                    acks="all",
                    enable_idempotence=True,
                    request_timeout_ms=round(self._answer_s * 1000),
                )
                await self._start(producer)
                self._producer = producer
                if self._partitions:
                    await self._make_topics()
            return self._producer

    async def _claiming(self) -> AIOKafkaConsumer:
        async with self._connecting:
            if self._claimer is None:
                claimer = self._consumer(
                    max_poll_interval_ms=round(MOST_SILENT_S * 1000),
                    session_timeout_ms=self._session_s * 1000,
                    heartbeat_interval_ms=self._session_s * 1000 // 3,
                    partition_assignment_strategy=(StickyPartitionAssignor,),
                )
                topics = [topic for lane in LANES for topic in (self._lane(lane), self._retries(lane))]
                claimer.subscribe(topics, listener=self)
                await self._start(claimer)
                self._claimer = claimer
            return self._claimer

    async def _reading(self) -> AIOKafkaConsumer:
        async with self._connecting:
            if self._reader is None:
                reader = self._consumer(fetch_max_wait_ms=20)
                await self._start(reader)
                self._reader = reader
            return self._reader

    async def _start(self, client: Client) -> None:
        try:
            await client.start()
        except BaseException:
            await self._stop(client)
            raise

    async def _stop(self, client: Client) -> None:
        """Not longer than ``HANG_UP_S``; a client whose brokers are gone goes on giving up what it has by itself."""
        stopping = asyncio.create_task(client.stop())
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopped)
        await asyncio.wait((stopping,), timeout=HANG_UP_S)

    def _stopped(self, stopping: asyncio.Task[None]) -> None:
        self._stopping.discard(stopping)
        if not stopping.cancelled():
            stopping.exception()  # nobody is left to be told

    def _consumer(self, **options: Any) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            bootstrap_servers=self._servers,
            group_id=f"{self._prefix}-workers",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            **options,
        )

    async def _make_topics(self) -> None:
        lanes = [name for lane in LANES for name in (self._lane(lane), self._retries(lane))]
        topics = [NewTopic(name, self._partitions, self._replicas) for name in lanes]
        topics += [NewTopic(self._dead, 1, self._replicas, topic_configs={"cleanup.policy": "compact"})]
        admin = AIOKafkaAdminClient(bootstrap_servers=self._servers)
        await admin.start()
        try:
            answer = await admin.create_topics(topics)
        finally:
            await admin.close()
        for told in answer.to_object()["topic_errors"]:
            if told["error_code"] not in (0, TopicAlreadyExistsError.errno):
                raise for_code(told["error_code"])(f"topic {told['topic']}")

    async def _disconnect(self) -> None:
        clients = [client for client in (self._claimer, self._reader, self._producer) if client is not None]
        self._claimer = self._reader = self._producer = None
        self._ready, self._progress = [], {}
        self._book.clear()
        for client in clients:
            await self._stop(client)

    @property
    def _dead(self) -> str:
        return f"{self._prefix}-dead"

    def _lane(self, lane: Lane) -> str:
        return f"{self._prefix}-{lane.value}"

    def _retries(self, lane: Lane) -> str:
        return f"{self._prefix}-{lane.value}-retry"


def _moved(read: _Read) -> LeaseLost:
    return LeaseLost(f"job {read.job.id}: {read.partition} was given to another process, which does it again")


async def _places(producer: AIOKafkaProducer, topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in sorted(await producer.partitions_for(topic))]


def _fold(letters: dict[str, DeadLetter], record: Record) -> None:
    """The last record of a job says whether it is dead."""
    name = (record.key or b"").decode(errors="replace")
    letters.pop(name, None)
    with suppress(ValueError):  # revived, or no job
        headers = dict(record.headers)
        job, attempts = read_job(record.value or b""), int(headers.get("attempts", b"0"))
        letters[name] = DeadLetter(job, headers.get("why", b"").decode(errors="replace"), attempts)
