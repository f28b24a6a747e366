"""What only a broker can do to a queue: die, hang, come back; and what a process that holds jobs can do to it."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from uuid import uuid4

import aio_pika
import pytest
from benchmarks.assay.rabbitmq import RabbitServer
from tests.assay.queue.rigs import WAIT_S, a_job

from assay.cases import Lane
from assay.errors import Reason, Refusal
from assay.queue.jobs import Depth, LeaseLost
from assay.queue.rabbitmq import RabbitQueue

pytestmark = pytest.mark.anyio

LEASE_S = 600.0

HOLD = """
import asyncio, sys
from assay.queue.rabbitmq import RabbitQueue

async def main():
    (lease,) = await RabbitQueue(sys.argv[1]).claim(1, 600.0, 30.0)
    print(lease.job.id, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def url(rabbit: RabbitServer) -> str:
    return f"{rabbit.url}?prefix={uuid4().hex}"


async def until_depth(queue: RabbitQueue, depth: Depth) -> None:
    """A broker that came back elects its queues' leaders first: until then it refuses, or tells too little."""
    async with asyncio.timeout(4 * WAIT_S):
        while True:
            with suppress(Refusal):
                if await queue.depth() == depth:
                    return


async def test_a_killed_broker_is_unavailable_and_keeps_what_was_published(rabbit: RabbitServer, url: str) -> None:
    queue = RabbitQueue(url)
    await queue.open()
    await queue.publish([a_job("a"), a_job("b", Lane.EXPRESS), a_job("c")])
    b, a = await queue.claim(2, LEASE_S, WAIT_S)
    await queue.dead(b, "why")
    waiting = asyncio.create_task(RabbitQueue(url).claim(5, LEASE_S, WAIT_S))
    assert [lease.job.id for lease in await waiting] == ["job-c"]

    rabbit.kill()
    calls = (lambda: queue.publish([a_job("d")]), lambda: queue.claim(1, LEASE_S, WAIT_S), lambda: queue.ack(a))
    try:
        for call in (*calls, queue.depth):
            with pytest.raises(
                Refusal, match=r"RabbitMQ at 127.0.0.1:\d+/: .*; expected an answer within 10 s"
            ) as told:
                await call()
            assert told.value.reason is Reason.UNAVAILABLE
    finally:
        rabbit.restart()

    await until_depth(queue, Depth(express=0, normal=2, leased=0, dead=1))
    with pytest.raises(LeaseLost):
        await queue.ack(a)  # the connection that held it is gone
    leases = [*await queue.claim(1, LEASE_S, WAIT_S), *await queue.claim(1, LEASE_S, WAIT_S)]
    assert {(lease.job.id, lease.attempt) for lease in leases} == {("job-a", 2), ("job-c", 2)}
    assert [letter.job.id for letter in await queue.dead_letters(10)] == ["job-b"]
    await until_depth(queue, Depth(express=0, normal=0, leased=2, dead=1))
    await queue.close()


@pytest.mark.slow  # the broker's start
async def test_a_waiting_claim_is_told_when_the_broker_dies(rabbit: RabbitServer, url: str) -> None:
    queue = RabbitQueue(url)
    await queue.open()
    claim = asyncio.create_task(queue.claim(1, LEASE_S, WAIT_S))
    assert await queue.depth() == Depth(0, 0, 0, 0)

    rabbit.kill()
    try:
        with pytest.raises(Refusal) as refused:
            await claim
    finally:
        rabbit.restart()

    assert refused.value.reason is Reason.UNAVAILABLE
    await until_depth(queue, Depth(0, 0, 0, 0))
    await queue.publish([a_job("a")])
    assert [lease.job for lease in await queue.claim(1, LEASE_S, WAIT_S)] == [a_job("a")]
    await queue.close()


@pytest.mark.slow
async def test_a_broker_that_hangs_is_unavailable(rabbit: RabbitServer, url: str) -> None:
    queue, patient = RabbitQueue(url, answer_s=3.0), RabbitQueue(url)
    await patient.open()
    await queue.open()

    rabbit.pause()
    try:
        with pytest.raises(Refusal, match=r"expected an answer within 3 s"):
            await queue.publish([a_job("a")])
    finally:
        rabbit.resume()

    await patient.publish([a_job("b")])
    leases = await patient.claim(2, LEASE_S, WAIT_S)
    assert "job-b" in {lease.job.id for lease in leases}  # job-a may have arrived: publishing again is harmless
    await queue.close()
    await patient.close()


async def test_a_worker_that_hangs_without_dying_loses_its_job(url: str) -> None:
    hung, other = RabbitQueue(url), RabbitQueue(url)
    await hung.publish([a_job("a")])
    (late,) = await hung.claim(1, 0.1, WAIT_S)  # real time: its own timer ends it

    (lease,) = await other.claim(1, LEASE_S, WAIT_S)

    assert lease.attempt == 2
    with pytest.raises(LeaseLost):
        await hung.ack(late)
    await other.ack(lease)
    assert await other.depth() == Depth(0, 0, 0, 0)
    await asyncio.gather(hung.close(), other.close())


async def test_what_a_killed_worker_had_is_given_to_another(url: str) -> None:
    queue = RabbitQueue(url)
    await queue.publish([a_job("a")])
    command = [sys.executable, "-c", HOLD, url]
    worker = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"job-a\n"

    worker.kill()
    await worker.wait()

    assert [(lease.job, lease.attempt) for lease in await queue.claim(1, LEASE_S, WAIT_S)] == [(a_job("a"), 2)]
    await queue.close()


async def test_what_is_no_job_goes_to_the_dead_letters_and_stops_nobody(url: str) -> None:
    queue = RabbitQueue(url)
    await queue.open()
    async with await aio_pika.connect(url.partition("?")[0]) as connection:
        channel = await connection.channel()
        await channel.default_exchange.publish(aio_pika.Message(b"\xff not a job"), f"{url.partition('=')[2]}.normal")
    await queue.publish([a_job("a")])

    assert [lease.job for lease in await queue.claim(2, LEASE_S, WAIT_S)] == [a_job("a")]
    await until_depth(queue, Depth(0, 0, 1, 1))  # the broker moves it by itself
    assert await queue.dead_letters(10) == []
    await queue.close()


async def test_a_delay_beyond_the_longest_queue_is_refused_and_the_lease_kept(url: str) -> None:
    queue = RabbitQueue(url)
    await queue.publish([a_job("a")])
    (lease,) = await queue.claim(1, LEASE_S, WAIT_S)

    with pytest.raises(Refusal, match=r"retry: a delay of 10000 s; RabbitMQ has queues for up to 4096 s"):
        await queue.retry(lease, 10_000)

    await queue.ack(lease)
    await queue.close()


async def test_nobody_listening_is_unavailable_without_the_password_in_the_message() -> None:
    queue = RabbitQueue("amqp://guest:secret@127.0.0.1:1/")

    with pytest.raises(Refusal, match=r"queue: RabbitMQ at 127.0.0.1:1/") as refused:
        await queue.open()

    assert "secret" not in str(refused.value)
