"""What every queue does: one suite for all of them."""

from __future__ import annotations

import asyncio

import pytest
from tests.assay.queue.rigs import WAIT_S, Rig, a_job

from assay.cases import Lane
from assay.queue.jobs import DeadLetter, Depth, JobQueue, Lease, LeaseLost

pytestmark = pytest.mark.anyio

LEASE_S = 600.0  # longer than any test: it ends when the test says so


async def claim_one(queue: JobQueue) -> Lease:
    leases = await queue.claim(1, LEASE_S, WAIT_S)
    assert len(leases) == 1
    return leases[0]


async def claim_all(queue: JobQueue, count: int) -> list[Lease]:
    return [await claim_one(queue) for _ in range(count)]


async def nothing_to_claim(queue: JobQueue) -> bool:
    return await queue.claim(1, LEASE_S, 0.0) == []


async def test_a_job_is_claimed_once_and_gone_when_acked(rig: Rig) -> None:
    queue = await rig.queue()
    await queue.publish([a_job("a")])

    lease = await claim_one(queue)

    assert lease.job == a_job("a")
    assert lease.attempt == 1
    assert await nothing_to_claim(queue)
    await queue.ack(lease)
    await rig.pass_lease(LEASE_S + 1)
    assert await nothing_to_claim(queue)


async def test_an_empty_queue_has_nothing(rig: Rig) -> None:
    queue = await rig.queue()

    assert await nothing_to_claim(queue)
    assert await queue.depth() == Depth(0, 0, 0, 0)
    assert await queue.dead_letters(10) == []


async def test_express_jobs_come_first_then_the_order_of_publishing(rig: Rig) -> None:
    queue = await rig.queue()
    await queue.publish([a_job("a"), a_job("b"), a_job("c", Lane.EXPRESS), a_job("d", Lane.EXPRESS)])
    first = await claim_one(queue)  # all of them are there when the first is

    rest = await claim_all(queue, 3)

    assert [lease.job.id for lease in (first, *rest)] == ["job-c", "job-d", "job-a", "job-b"]


async def test_a_claim_takes_up_to_as_many_as_it_says(rig: Rig) -> None:
    queue = await rig.queue()
    await queue.publish([a_job(f"{number}") for number in range(5)])

    leases = await queue.claim(3, LEASE_S, WAIT_S)

    assert 1 <= len(leases) <= 3
    assert len({lease.token for lease in leases}) == len(leases)


async def test_a_waiting_claim_wakes_when_a_job_is_published(rig: Rig) -> None:
    publisher, claimer = await rig.queue(), await rig.queue()
    claim = asyncio.create_task(claimer.claim(1, LEASE_S, WAIT_S))
    assert await nothing_to_claim(publisher)

    await publisher.publish([a_job("a")])

    assert [lease.job for lease in await claim] == [a_job("a")]


async def test_a_cancelled_claim_takes_nothing_for_good(rig: Rig) -> None:
    queue = await rig.queue()
    await queue.publish([a_job("a")])
    for steps in range(12):
        claim = asyncio.create_task(queue.claim(1, LEASE_S, WAIT_S))
        for _ in range(steps):
            await asyncio.sleep(0)
        claim.cancel()
        (outcome,) = await asyncio.gather(claim, return_exceptions=True)
        if isinstance(outcome, list):  # it was faster
            await queue.retry(outcome[0], 0.0)

    assert (await claim_one(queue)).job == a_job("a")


async def test_a_lease_that_ran_out_is_given_to_another_and_lost_to_the_first(rig: Rig) -> None:
    hung, other = await rig.queue(), await rig.queue()
    await hung.publish([a_job("a")])
    late = await claim_one(hung)

    await rig.pass_lease(LEASE_S + 1)
    lease = await claim_one(other)

    assert (lease.job, lease.attempt) == (a_job("a"), 2)
    for call in (hung.ack(late), hung.retry(late, 0.0), hung.dead(late, "why"), hung.extend(late, LEASE_S)):
        with pytest.raises(LeaseLost, match=r"job job-a: the lease of attempt 1 "):
            await call
    await other.ack(lease)
    assert await other.depth() == Depth(0, 0, 0, 0)


async def test_a_lease_is_lost_when_it_ran_out_though_nobody_claimed_since(rig: Rig) -> None:
    queue = await rig.queue()
    await queue.publish([a_job("a")])
    late = await claim_one(queue)

    await rig.pass_lease(LEASE_S + 1)

    with pytest.raises(LeaseLost):
        await queue.ack(late)
    assert (await claim_one(queue)).attempt == 2


async def test_an_extended_lease_is_kept(rig: Rig) -> None:
    queue = await rig.queue()
    await queue.publish([a_job("a")])
    lease = await claim_one(queue)

    await rig.pass_lease(LEASE_S - 1)
    await queue.extend(lease, LEASE_S)
    await rig.pass_lease(LEASE_S - 1)

    assert await nothing_to_claim(queue)
    await queue.ack(lease)


async def test_a_settled_lease_is_lost(rig: Rig) -> None:
    queue = await rig.queue()
    await queue.publish([a_job("a")])
    lease = await claim_one(queue)
    await queue.ack(lease)

    with pytest.raises(LeaseLost, match="job job-a: the lease of attempt 1 ran out or was settled before"):
        await queue.ack(lease)


async def test_an_attempt_that_is_not_counted_is_made_again(rig: Rig) -> None:
    queue = await rig.queue()
    await queue.publish([a_job("a")])
    attempts: list[int] = []
    for is_counted in (False, True, False, True):
        lease = await claim_one(queue)
        attempts.append(lease.attempt)
        await queue.retry(lease, 0.0, is_counted)

    assert attempts == [1, 1, 2, 2]


async def test_a_retry_comes_not_before_its_delay_and_counts_its_attempts(rig: Rig) -> None:
    queue = await rig.queue()
    await queue.publish([a_job("a", Lane.EXPRESS)])
    first = await claim_one(queue)
    began_s = rig.clock()

    await queue.retry(first, 1.0)
    assert (await queue.depth()).express == 1  # delayed ones wait too
    await rig.pass_delay(1.0)
    second = await claim_one(queue)

    assert rig.clock() - began_s >= 1.0
    assert (second.job, second.attempt) == (a_job("a", Lane.EXPRESS), 2)
    with pytest.raises(LeaseLost):
        await queue.ack(first)
    await queue.retry(second, 0.0)
    assert (await claim_one(queue)).attempt == 3


async def test_a_delayed_job_keeps_no_other_waiting(rig: Rig) -> None:
    queue = await rig.queue()
    await queue.publish([a_job("a"), a_job("b")])
    await queue.retry(await claim_one(queue), 1000.0)

    assert (await claim_one(queue)).job == a_job("b")
    assert await nothing_to_claim(queue)


async def test_dead_letters_are_listed_and_revived(rig: Rig) -> None:
    queue = await rig.queue()
    await queue.publish([a_job("a"), a_job("b", Lane.EXPRESS)])
    b, a = await claim_all(queue, 2)
    await queue.dead(a, "its photo cannot be read")
    await queue.dead(b, "the engine refused it")
    letters = [DeadLetter(a.job, "its photo cannot be read", 1), DeadLetter(b.job, "the engine refused it", 1)]

    assert await queue.depth() == Depth(0, 0, 0, 2)
    assert sorted(await queue.dead_letters(10), key=lambda letter: letter.job.id) == letters
    assert len(await queue.dead_letters(1)) == 1
    assert await nothing_to_claim(queue)

    assert await queue.revive("job-a")
    assert not await queue.revive("job-a")
    assert not await queue.revive("job-nobody")
    lease = await claim_one(queue)
    assert (lease.job, lease.attempt) == (a_job("a"), 1)
    assert await queue.dead_letters(10) == letters[1:]


async def test_depth_counts_what_waits_what_is_leased_and_what_is_dead(rig: Rig) -> None:
    queue = await rig.queue()
    await queue.publish([a_job("a"), a_job("b"), a_job("c"), a_job("d", Lane.EXPRESS), a_job("e", Lane.EXPRESS)])
    d = await claim_one(queue)
    assert await queue.depth() == Depth(express=1, normal=3, leased=1, dead=0)

    await queue.dead(d, "why")
    await claim_one(queue)
    a = await claim_one(queue)
    await queue.retry(a, 1000.0)

    assert await queue.depth() == Depth(express=0, normal=3, leased=1, dead=1)


async def test_a_job_published_again_while_it_waits_or_is_leased_is_done_once(rig: Rig) -> None:
    if not rig.tells_duplicates:
        pytest.skip("this broker keeps no names of jobs: workers are idempotent")
    queue = await rig.queue()
    await queue.publish([a_job("a")])
    await queue.publish([a_job("a")])
    lease = await claim_one(queue)
    await queue.publish([a_job("a")])

    assert await nothing_to_claim(queue)
    await queue.ack(lease)
    assert await nothing_to_claim(queue)


async def test_a_job_published_again_after_it_was_done_or_given_up_is_a_new_one(rig: Rig) -> None:
    queue = await rig.queue()
    for settle in (queue.ack, lambda lease: queue.dead(lease, "why"), queue.ack):
        await queue.publish([a_job("a")])
        lease = await claim_one(queue)
        assert lease.attempt == 1
        await settle(lease)


async def test_what_waits_is_there_after_closing_and_opening(rig: Rig) -> None:
    queue = await rig.queue()
    await queue.publish([a_job("a"), a_job("b"), a_job("c", Lane.EXPRESS)])
    await queue.dead(await claim_one(queue), "why")
    await queue.close()

    again = await rig.queue()

    assert [lease.job.id for lease in await claim_all(again, 2)] == ["job-a", "job-b"]
    assert [letter.job.id for letter in await again.dead_letters(10)] == ["job-c"]


async def test_a_queue_opens_again_after_it_was_closed(rig: Rig) -> None:
    queue = await rig.queue()
    await queue.publish([a_job("a")])
    await queue.close()
    await queue.open()

    assert (await claim_one(queue)).job == a_job("a")


async def test_many_claimers_never_have_the_same_job(rig: Rig) -> None:
    jobs = [a_job(f"{number}", list(Lane)[number % 2]) for number in range(60)]
    queues = [await rig.queue() for _ in range(4)]
    left = len(jobs)
    seen: list[str] = []

    async def work(queue: JobQueue) -> None:
        nonlocal left
        while left:
            for lease in await queue.claim(3, LEASE_S, 0.05):
                seen.append(lease.job.id)
                left -= 1
                await queue.ack(lease)

    workers = [asyncio.create_task(work(queue)) for queue in queues]
    await asyncio.gather(*(queue.publish(jobs[number::4]) for number, queue in enumerate(queues)))
    await asyncio.wait_for(asyncio.gather(*workers), WAIT_S)

    assert sorted(seen) == sorted(job.id for job in jobs)
    assert await queues[0].depth() == Depth(0, 0, 0, 0)
