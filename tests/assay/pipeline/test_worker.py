"""Workers outlive what happens to single cases, and every accepted case ends in one report or one dead letter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from assay.cases import Case, CaseState, Lane, Verdict
from assay.errors import Reason, Refusal, unavailable
from assay.meter import Meter
from assay.pipeline import worker as workers
from assay.pipeline.relay import Relay
from assay.pipeline.worker import Worker, WorkerLimits, retry_delay_s
from assay.queue.jobs import Job
from assay.queue.memory import MemoryQueue
from assay.store import Store

LIMITS = WorkerLimits(cases=3, lease_s=20, most_attempts=3)


class ShortJudged:
    """A report of a few bytes."""

    def __init__(self, case_id: str, report_id: str) -> None:
        self.case_id, self.report_id = case_id, report_id

    def finish(self, store: Store) -> bool:
        return store.cases.finish(self.case_id, self.report_id, Verdict.CONSISTENT, 0.1, b"report", {}, 0.0)


class ScriptedJudge:
    """Does for each attempt at a case what the script says; counts attempts."""

    def __init__(self, script: Callable[[str, int], Awaitable[None]]) -> None:
        self.attempts: dict[str, int] = {}
        self.most_at_once = self._at_once = 0
        self._script = script

    async def judge(self, case: Case) -> ShortJudged:
        case_id = case.id
        self.attempts[case_id] = self.attempts.get(case_id, 0) + 1
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await self._script(case_id, self.attempts[case_id])
        finally:
            self._at_once -= 1
        return ShortJudged(case_id, f"report-{case_id}-{self.attempts[case_id]}")


async def nothing(case_id: str, attempt: int) -> None:
    """Judges without ado."""


@pytest.fixture(autouse=True)
def _without_delays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers, "FIRST_DELAY_S", 0.0)


@pytest.fixture
def queued(store: Store, tenant, photographs, submit) -> Callable[[int], list[Case]]:
    photos = dict(list(photographs(1).items())[:1])
    return lambda count: [submit(store, tenant, photos) for _ in range(count)]


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.005)


async def worked(store: Store, judge: ScriptedJudge, is_done: Callable[[], bool], count: int = 1) -> MemoryQueue:
    """Relay and workers on a queue in memory until it is so."""
    queue = MemoryQueue()
    tasks = [Relay(store, queue).run(), *(Worker(store, queue, judge, LIMITS, Meter()).run() for _ in range(count))]
    running = [asyncio.create_task(task) for task in tasks]
    await until(is_done)
    await until(lambda: not any(task.done() for task in running))
    await asyncio.sleep(0)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    return queue


def states(store: Store, cases: list[Case]) -> list[CaseState]:
    return [store.cases.work(case.id).state for case in cases]


def test_every_case_gets_its_report_and_several_are_under_way_at_once(store: Store, queued, run):
    cases = queued(7)

    async def wait_for_others(case_id: str, attempt: int) -> None:
        await until(lambda: judge.most_at_once >= 3)

    judge = ScriptedJudge(wait_for_others)
    run(worked(store, judge, lambda: set(states(store, cases)) == {CaseState.REPORTED}))
    assert judge.most_at_once == LIMITS.cases
    assert {store.cases.work(case.id).report_id for case in cases} == {f"report-{case.id}-1" for case in cases}


def test_a_case_that_breaks_its_judge_is_tried_again_then_given_up_and_the_others_are_judged(store, queued, run):
    cases = queued(3)
    poison = cases[1]

    async def break_on_poison(case_id: str, attempt: int) -> None:
        if case_id == poison.id:
            raise ZeroDivisionError("a bug")

    judge = ScriptedJudge(break_on_poison)
    done = [CaseState.REPORTED, CaseState.FAILED, CaseState.REPORTED]
    queue = run(worked(store, judge, lambda: states(store, cases) == done))
    assert judge.attempts[poison.id] == LIMITS.most_attempts
    assert store.cases.work(poison.id).failure == "ZeroDivisionError: a bug"
    (letter,) = run(queue.dead_letters(10))
    assert (letter.job.case_id, letter.attempts) == (poison.id, LIMITS.most_attempts)


def test_a_case_that_ends_every_worker_is_given_up(store: Store, queued, run):
    (case,) = queued(1)
    judge = ScriptedJudge(nothing)

    async def outlived() -> str:
        now_s = [0.0]
        queue = MemoryQueue(lambda: now_s[0])
        await Relay(store, queue).publish_pending()
        for _ in range(LIMITS.most_attempts):
            assert len(await queue.claim(1, 10.0, 0.0)) == 1
            now_s[0] += 20.0  # and the worker was never heard of again
        task = asyncio.create_task(Worker(store, queue, judge, LIMITS, Meter()).run())
        await until(lambda: states(store, [case]) == [CaseState.FAILED])
        task.cancel()
        (letter,) = await queue.dead_letters(10)
        return letter.why

    assert run(outlived()) == "3 attempts ended with their worker or their lease"
    assert judge.attempts == {}


def test_what_passes_by_itself_never_makes_a_dead_letter(store: Store, queued, run):
    (case,) = queued(1)

    async def fail_often(case_id: str, attempt: int) -> None:
        if attempt <= 3 * LIMITS.most_attempts:
            raise unavailable("the engine server is being replaced")

    judge = ScriptedJudge(fail_often)
    run(worked(store, judge, lambda: states(store, [case]) == [CaseState.REPORTED]))
    assert judge.attempts[case.id] == 3 * LIMITS.most_attempts + 1


def test_a_refusal_that_stays_makes_a_dead_letter_with_its_words(store: Store, queued, run):
    (case,) = queued(1)

    async def refuse(case_id: str, attempt: int) -> None:
        raise Refusal(Reason.NOT_FOUND, "the photograph is not in the blob store")

    run(worked(store, ScriptedJudge(refuse), lambda: states(store, [case]) == [CaseState.FAILED]))
    assert store.cases.work(case.id).failure == "the photograph is not in the blob store"


def test_a_job_published_twice_leaves_one_report(store: Store, queued, run):
    (case,) = queued(1)
    judge = ScriptedJudge(nothing)

    async def twice() -> None:
        queue = MemoryQueue()
        await queue.publish([Job(f"job-{n}", case.id, Lane.NORMAL) for n in range(2)])
        worker = asyncio.create_task(Worker(store, queue, judge, LIMITS, Meter()).run())
        while (await queue.depth()).waiting or (await queue.depth()).leased:
            await asyncio.sleep(0.005)
        worker.cancel()

    run(twice())
    assert states(store, [case]) == [CaseState.REPORTED]
    assert store.cases.work(case.id).report_id in {f"report-{case.id}-{n}" for n in (1, 2)}


def test_a_worker_that_is_stopped_gives_its_jobs_back_at_once(store: Store, queued, run):
    (case,) = queued(1)

    async def hang(case_id: str, attempt: int) -> None:
        await asyncio.Event().wait()

    async def stopped_then_another() -> None:
        queue = MemoryQueue()
        await Relay(store, queue).publish_pending()
        hanging = ScriptedJudge(hang)
        first = asyncio.create_task(Worker(store, queue, hanging, LIMITS, Meter()).run())
        await until(lambda: bool(hanging.attempts))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        (lease,) = await queue.claim(1, 10, 0)
        assert lease.job.case_id == case.id

    run(stopped_then_another())


def test_the_lease_of_a_long_case_is_renewed(store: Store, queued, run):
    (case,) = queued(1)
    limits = WorkerLimits(cases=1, lease_s=1.0, most_attempts=3)

    async def take_several_leases(case_id: str, attempt: int) -> None:
        await asyncio.sleep(2.5 * limits.lease_s)

    async def long_case() -> ScriptedJudge:
        queue, judge = MemoryQueue(), ScriptedJudge(take_several_leases)
        await Relay(store, queue).publish_pending()
        tasks = [asyncio.create_task(Worker(store, queue, judge, limits, Meter()).run()) for _ in range(2)]
        await until(lambda: states(store, [case]) == [CaseState.REPORTED])
        for task in tasks:
            task.cancel()
        return judge

    assert run(long_case()).attempts == {case.id: 1}


def test_a_lease_that_ran_out_is_counted_and_harmless(store: Store, queued, run):
    (case,) = queued(1)
    meter = Meter()

    async def overtaken() -> None:
        now_s = [0.0]
        queue = MemoryQueue(lambda: now_s[0])

        async def take_longer_than_the_lease(case_id: str, attempt: int) -> None:
            now_s[0] += 2 * LIMITS.lease_s

        await Relay(store, queue).publish_pending()
        judge = ScriptedJudge(take_longer_than_the_lease)
        task = asyncio.create_task(Worker(store, queue, judge, LIMITS, meter).run())
        await until(lambda: bool(meter.counts("job_lease_expired")))
        task.cancel()

    run(overtaken())
    assert states(store, [case]) == [CaseState.REPORTED]


def test_delays_double_up_to_half_a_minute(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers, "FIRST_DELAY_S", 0.5)
    assert [retry_delay_s(attempt) for attempt in (1, 2, 3, 7, 50)] == [0.5, 1.0, 2.0, 30.0, 30.0]
