"""A queue in RabbitMQ: two durable quorum queues, and workers on as many machines as there are.

    default exchange ─▶ <prefix>.express, <prefix>.normal        a lease is an unacked delivery
                     ─▶ <prefix>.delay.<lane>.<seconds>          a retry, until its time to live ends
                     ─▶ <prefix>.dead
    <prefix>.lanes (direct): what delays dead-letter to; feeds the lanes
    <prefix>.wake (fanout): fed by <prefix>.lanes and by publishers; rings the bell of each waiting process

Delays are rounded up to a power of two of seconds. A job published twice is delivered twice: RabbitMQ keeps no names.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractQueue
from aio_pika.abc import AbstractIncomingMessage as Message
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError

from assay.cases import Lane
from assay.errors import Refusal, invalid, unavailable
from assay.queue.bell import Bell
from assay.queue.jobs import LANES, DeadLetter, Depth, Job, Lease
from assay.queue.leases import LeaseBook
from assay.queue.wire import read_job, write_job

POLL_S = 1.0  # how often a claimer looks for what another process lost: nothing rings then
ANSWER_S = 10.0  # the broker has so long to answer one call
HANG_UP_S = 1.0
HEARTBEAT_S = 20  # a process that stops answering for two of them loses its connection, and its leases
DELAYS_S = tuple(2**power for power in range(13))  # up to 68 minutes
MOST_DELIVERIES = 1000  # then a job that kills every worker is a dead letter, whatever the workers say
UNBOUNDED_DELIVERIES = 2_000_000_000  # listing dead letters delivers them

BROKER_ERRORS = (AMQPError, ChannelInvalidStateError, OSError, TimeoutError)
SAFE_DEAD_LETTERS = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}


@dataclass(frozen=True)
class _Broker:
    """What one connection has open."""

    connection: AbstractConnection
    publishing: AbstractChannel
    claiming: AbstractChannel
    dead: AbstractChannel  # one channel sees its own changes in their order
    wake: AbstractExchange
    lanes: Mapping[Lane, AbstractQueue]

    @property
    def is_open(self) -> bool:
        return not any(e.is_closed for e in (self.connection, self.publishing, self.claiming, self.dead))


class RabbitQueue:
    """Of one event loop. ``url``: amqp://user:password@host:port/vhost?prefix=assay; queues are named by the prefix.

    A lease ends by a timer in the process that holds it, by the loss of its connection (which also hung processes
    lose, after two heartbeats), and by the broker's consumer_timeout (30 minutes by default). ``clock`` gives seconds:
    leases run by it.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic, answer_s: float = ANSWER_S) -> None:
        split = urlsplit(url)
        options = {"prefix": "assay", "heartbeat": str(HEARTBEAT_S)} | dict(parse_qsl(split.query))
        self._prefix = options.pop("prefix")
        self._url = split._replace(query=urlencode(options)).geturl()
        self._place = f"{split.hostname}:{split.port or 5672}{split.path}"  # without the password
        self._answer_s = answer_s
        self._bell = Bell()
        self._book: LeaseBook[Message] = LeaseBook(_requeue, clock)
        self._connecting = asyncio.Lock()
        self._dead_reading = asyncio.Lock()
        self._broker: _Broker | None = None

    async def open(self) -> None:
        async with self._answering():
            pass

    async def close(self) -> None:
        if self._broker is not None:
            await self._disconnect(self._broker)

    async def publish(self, jobs: Sequence[Job]) -> None:
        async with self._answering() as broker:
            await asyncio.gather(*(self._send(broker, self._lane(job.lane), job, attempts=0) for job in jobs))
            await _ring(broker)

    async def claim(self, most: int, lease_s: float, wait_s: float) -> list[Lease]:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while True:
            rings = self._bell.rings
            leases = await self._take_or_return(most, lease_s)
            remaining_s = until - loop.time()
            if leases or remaining_s <= 0:
                return leases
            await self._bell.wait(rings, min(remaining_s, POLL_S))

    async def ack(self, lease: Lease) -> None:
        async with self._answering():
            with self._book.settling(lease) as message:
                await message.ack()

    async def retry(self, lease: Lease, delay_s: float, is_counted: bool = True) -> None:
        place = self._lane(lease.job.lane) if delay_s <= 0 else self._delay(lease.job.lane, _rounded_up(delay_s))
        async with self._answering() as broker:
            with self._book.settling(lease) as message:
                await self._send(broker, place, lease.job, lease.attempt - (not is_counted))
                await message.ack()
            await _ring(broker)

    async def dead(self, lease: Lease, why: str) -> None:
        async with self._answering() as broker:
            with self._book.settling(lease) as message:
                await self._send(broker, self._dead, lease.job, lease.attempt, why)
                await message.ack()

    async def extend(self, lease: Lease, lease_s: float) -> None:
        async with self._answering():
            self._book.extend(lease, lease_s)

    async def expire(self) -> None:
        """Give back the leases that ran out; a timer does it, too."""
        await self._book.expire()

    async def depth(self) -> Depth:
        """``leased`` counts this process' own: the broker tells nobody of others'."""
        async with self._answering() as broker:
            names = {lane: [self._lane(lane), *(self._delay(lane, s) for s in DELAYS_S)] for lane in LANES}
            express, normal, dead = await asyncio.gather(
                _count(broker.publishing, names[Lane.EXPRESS]),
                _count(broker.publishing, names[Lane.NORMAL]),
                _count(broker.dead, [self._dead]),
            )
        return Depth(express, normal, len(self._book), dead)

    async def dead_letters(self, most: int) -> list[DeadLetter]:
        """What is no job is left out: the broker's own tools show it. Two that list at once see parts of them."""
        letters: list[DeadLetter] = []
        async with self._answering() as broker, self._reading_dead(broker) as read:
            while len(letters) < most and (message := await read()):
                letters += _dead_letter(message)
        return letters

    async def revive(self, job_id: str) -> bool:
        async with self._answering() as broker, self._reading_dead(broker) as read:
            while message := await read():
                for letter in _dead_letter(message):
                    if letter.job.id == job_id:
                        await self._send(broker, self._lane(letter.job.lane), letter.job, attempts=0)
                        await message.ack()
                        await _ring(broker)
                        return True
        return False

    async def _take_or_return(self, most: int, lease_s: float) -> list[Lease]:
        """A claim that is cancelled meanwhile gives back what was on its way."""
        taking = asyncio.create_task(self._take(most, lease_s))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            for lease in await taking:
                with self._book.settling(lease) as message:
                    await _requeue(lease, message)
            raise

    async def _take(self, most: int, lease_s: float) -> list[Lease]:
        leases: list[Lease] = []
        async with self._answering() as broker:
            for lane in LANES:
                while len(leases) < most and (message := await broker.lanes[lane].get(fail=False)):
                    leases += await self._leased(message, lease_s)
        return leases

    async def _leased(self, message: Message, lease_s: float) -> list[Lease]:
        try:
            job = read_job(message.body)
        except ValueError:
            await message.reject(requeue=False)  # to the dead letters
            return []
        attempt = _number(message, "attempts") + _number(message, "x-delivery-count") + 1
        return [self._book.add(job, attempt, message, lease_s)]

    async def _send(self, broker: _Broker, place: str, job: Job, attempts: int, why: str = "") -> None:
        """Confirmed by the broker when this returns."""
        message = aio_pika.Message(
            write_job(job),
            headers={"attempts": attempts, "why": why},
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=job.id,
        )
        await broker.publishing.default_exchange.publish(message, place, mandatory=True)

    @asynccontextmanager
    async def _reading_dead(self, broker: _Broker) -> AsyncGenerator[Callable[[], Awaitable[Message | None]]]:
        """Reads one dead letter after the other; those that are not acked go back in their order."""
        read: list[Message] = []

        async def next_one() -> Message | None:
            message = await queue.get(fail=False)
            read.extend([message] if message else [])
            return message

        async with self._dead_reading:
            queue = await broker.dead.get_queue(self._dead, ensure=False)
            try:
                yield next_one
            finally:
                for message in read:
                    if not message.processed:
                        await message.nack(requeue=True)

    @asynccontextmanager
    async def _answering(self) -> AsyncGenerator[_Broker]:
        """The broker, connected again if need be. What it does not answer in time is UNAVAILABLE."""
        broker: _Broker | None = None
        try:
            async with asyncio.timeout(self._answer_s):
                broker = await self._connected()
                yield broker
        except BROKER_ERRORS as err:
            await self._disconnect(broker)
            raise self._unavailable(err) from err
        except asyncio.CancelledError as err:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            await self._disconnect(broker)  # aiormq cancels what waits on a connection that closes
            raise self._unavailable(err) from err

    def _unavailable(self, err: BaseException) -> Refusal:
        return unavailable(f"queue: RabbitMQ at {self._place}: {err!r}; expected an answer within {self._answer_s:g} s")

    async def _connected(self) -> _Broker:
        async with self._connecting:
            if self._broker is None or not self._broker.is_open:
                await self._disconnect(self._broker)
                self._broker = await self._connect()
            return self._broker

    async def _connect(self) -> _Broker:
        connection = await aio_pika.connect(self._url, timeout=self._answer_s)
        try:
            publishing = await connection.channel(on_return_raises=True)
            claiming, dead = await connection.channel(), await connection.channel()
            wake, lanes = await self._declare(claiming)
            await self._listen(claiming, wake)
        except BaseException:
            await _hang_up(connection)
            raise
        broker = _Broker(connection, publishing, claiming, dead, wake, lanes)
        for closable in (connection, claiming):
            closable.close_callbacks.add(lambda *_: self._lost(broker))
        return broker

    async def _disconnect(self, broker: _Broker | None) -> None:
        if broker is None:
            return
        self._lost(broker)
        if self._broker is broker:
            self._broker = None
        await _hang_up(broker.connection)

    def _lost(self, broker: _Broker) -> None:
        """The broker takes back what was delivered on this connection."""
        if self._broker is broker:
            self._book.clear()
            self._bell.ring()

    async def _declare(self, channel: AbstractChannel) -> tuple[AbstractExchange, dict[Lane, AbstractQueue]]:
        await _declare_quorum(channel, self._dead, {"x-delivery-limit": UNBOUNDED_DELIVERIES})
        wake = await channel.declare_exchange(f"{self._prefix}.wake", aio_pika.ExchangeType.FANOUT, durable=True)
        source = await channel.declare_exchange(f"{self._prefix}.lanes", aio_pika.ExchangeType.DIRECT, durable=True)
        lanes: dict[Lane, AbstractQueue] = {}
        for lane in LANES:
            to_dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": self._dead, **SAFE_DEAD_LETTERS}
            limit = {"x-delivery-limit": MOST_DELIVERIES}
            lanes[lane] = await _declare_quorum(channel, self._lane(lane), to_dead | limit)
            await lanes[lane].bind(source, lane.value)
            await wake.bind(source, lane.value)
            back = {"x-dead-letter-exchange": source.name, "x-dead-letter-routing-key": lane.value, **SAFE_DEAD_LETTERS}
            for delay_s in DELAYS_S:
                await _declare_quorum(channel, self._delay(lane, delay_s), back | {"x-message-ttl": delay_s * 1000})
        return wake, lanes

    async def _listen(self, channel: AbstractChannel, wake: AbstractExchange) -> None:
        async def ring(_: Message) -> None:
            self._bell.ring()

        own = await channel.declare_queue(exclusive=True, auto_delete=True, arguments={"x-max-length": 1})
        await own.bind(wake)
        await own.consume(ring, no_ack=True)

    @property
    def _dead(self) -> str:
        return f"{self._prefix}.dead"

    def _lane(self, lane: Lane) -> str:
        return f"{self._prefix}.{lane.value}"

    def _delay(self, lane: Lane, delay_s: int) -> str:
        return f"{self._prefix}.delay.{lane.value}.{delay_s}"


def _rounded_up(delay_s: float) -> int:
    """To a delay that has a queue."""
    if delay_s > DELAYS_S[-1]:
        raise invalid(f"retry: a delay of {delay_s:g} s; RabbitMQ has queues for up to {DELAYS_S[-1]} s")
    return next(delay for delay in DELAYS_S if delay >= delay_s)


async def _declare_quorum(channel: AbstractChannel, name: str, arguments: Mapping[str, str | int]) -> AbstractQueue:
    return await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum", **arguments})


async def _count(channel: AbstractChannel, names: Sequence[str]) -> int:
    queues = await asyncio.gather(*(channel.declare_queue(name, passive=True) for name in names))
    return sum(queue.declaration_result.message_count or 0 for queue in queues)


async def _ring(broker: _Broker) -> None:
    await broker.wake.publish(aio_pika.Message(b""), "", mandatory=False)


async def _requeue(_: Lease, message: Message) -> None:
    with suppress(*BROKER_ERRORS):  # its connection is gone: the broker has it back already
        await message.nack(requeue=True)


async def _hang_up(connection: AbstractConnection) -> None:
    with suppress(*BROKER_ERRORS):  # it may be gone already, or hang
        async with asyncio.timeout(HANG_UP_S):
            await connection.close()


def _number(message: Message, name: str) -> int:
    value = message.headers.get(name)
    return value if isinstance(value, int) else 0


def _dead_letter(message: Message) -> list[DeadLetter]:
    """One, or none where the message is no job."""
    try:
        job = read_job(message.body)
    except ValueError:
        return []
    why = message.headers.get("why") or f"delivered {MOST_DELIVERIES} times and never answered"
    return [DeadLetter(job, str(why), _number(message, "attempts"))]
