"""What a log does that a queue does not. See kafka_mock for what these tests prove and what they cannot."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaProducer
from tests.assay.queue.kafka_mock import KafkaMock
from tests.assay.queue.rigs import WAIT_S, Clock, a_job

from assay.errors import Reason, Refusal
from assay.queue.jobs import Depth, Lease, LeaseLost
from assay.queue.kafka import KafkaQueue

pytestmark = pytest.mark.anyio

LEASE_S = 600.0


async def claim_by_name(queue: KafkaQueue, count: int) -> dict[str, Lease]:
    leases: dict[str, Lease] = {}
    while len(leases) < count:
        claimed = await queue.claim(count, LEASE_S, WAIT_S)
        assert claimed
        leases |= {lease.job.id: lease for lease in claimed}
    return leases


async def test_what_was_acked_behind_a_leased_job_comes_again_to_the_next_process(kafka_url: str) -> None:
    first = KafkaQueue(kafka_url)
    await first.publish([a_job("a"), a_job("b"), a_job("c")])
    leases = await claim_by_name(first, 3)
    await first.ack(leases["job-a"])
    await first.ack(leases["job-c"])
    assert await first.depth() == Depth(express=0, normal=0, leased=1, dead=0)
    await first.close()

    second = KafkaQueue(kafka_url)

    assert (await claim_by_name(second, 2)).keys() == {"job-b", "job-c"}
    await second.close()


async def test_brokers_that_are_gone_are_unavailable_and_come_back(kafka_url: str, kafka_mock: KafkaMock) -> None:
    if kafka_mock.servers not in kafka_url:
        pytest.skip("a real cluster is not this test's to stop")
    queue = KafkaQueue(kafka_url, answer_s=3.0)
    await queue.publish([a_job("a")])
    lease = (await claim_by_name(queue, 1))["job-a"]

    kafka_mock.kill()
    for call in (queue.publish([a_job("b")]), queue.claim(1, LEASE_S, WAIT_S), queue.depth()):
        with pytest.raises(
            Refusal, match=r"queue: Kafka at 127.0.0.1:\d+: .*; expected an answer within 3 s"
        ) as refused:
            await call
        assert refused.value.reason is Reason.UNAVAILABLE
    kafka_mock.restart()

    with pytest.raises(LeaseLost):
        await queue.ack(lease)
    patient = KafkaQueue(kafka_url, answer_s=WAIT_S)
    await patient.publish([a_job("c")])
    claimed: set[str] = set()  # job-b may have arrived: publishing again is harmless
    while not claimed >= {"job-a", "job-c"}:
        claimed |= (await claim_by_name(patient, 1)).keys()
    await asyncio.gather(queue.close(), patient.close())


async def test_a_lease_ends_by_a_timer_of_the_process(kafka_url: str) -> None:
    queue = KafkaQueue(kafka_url)
    await queue.publish([a_job("a")])
    (late,) = await queue.claim(1, 0.1, WAIT_S)

    (lease,) = await queue.claim(1, LEASE_S, WAIT_S)

    assert lease.attempt == 2
    with pytest.raises(LeaseLost):
        await queue.ack(late)
    await queue.ack(lease)
    await queue.close()


async def test_what_is_no_job_stops_nobody(kafka_url: str) -> None:
    servers, _, topics = kafka_url.removeprefix("kafka://").partition("/")
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    await producer.send_and_wait(f"{topics.partition('?')[0]}-normal", b"\xff not a job")
    await producer.stop()
    queue = KafkaQueue(kafka_url, Clock())
    await queue.publish([a_job("a")])

    assert (await claim_by_name(queue, 1)).keys() == {"job-a"}
    await queue.close()


async def test_nobody_listening_is_unavailable() -> None:
    with pytest.raises(Refusal, match=r"queue: Kafka at 127.0.0.1:1: ") as refused:
        await KafkaQueue("kafka://127.0.0.1:1").open()

    assert refused.value.reason is Reason.UNAVAILABLE


def test_an_url_with_a_wrong_number_is_refused() -> None:
    with pytest.raises(Refusal, match="'partitions=many'; expected whole numbers of partitions, replicas, session_s"):
        KafkaQueue("kafka://127.0.0.1:1/jobs?partitions=many")
