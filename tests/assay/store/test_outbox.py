from __future__ import annotations

from tests.assay.store.making import CLAIM, Bench, a_photo

from assay.cases import Lane
from assay.queue.jobs import Job
from assay.views import View


def test_jobs_wait_oldest_first_until_they_are_published(bench: Bench) -> None:
    cases = [bench.queued().id for _ in range(3)]
    jobs = bench.store.outbox.pending(2)
    assert [job.case_id for job in jobs] == cases[:2]
    assert bench.store.outbox.pending(2) == jobs, "asking takes nothing away"
    bench.store.outbox.published([job.id for job in jobs])
    assert [job.case_id for job in bench.store.outbox.pending(2)] == cases[2:]


def test_a_job_says_its_lane_and_trace(bench: Bench) -> None:
    case = bench.store.cases.create(bench.tenant.id, CLAIM, Lane.EXPRESS)
    bench.store.cases.put_photo(bench.tenant.id, case.id, a_photo(View.LOGO, b"o"), b"o", b"p")
    bench.store.cases.submit(bench.tenant.id, case.id, "00-1-2-01")
    (job,) = bench.store.outbox.pending(10)
    assert job == Job(job.id, case.id, Lane.EXPRESS, "00-1-2-01")


def test_what_a_queue_may_have_lost_is_published_again(bench: Bench) -> None:
    lost, done = bench.queued(), bench.queued()
    jobs = bench.store.outbox.pending(10)
    bench.store.outbox.published([job.id for job in jobs])
    bench.finish(done.id)
    assert bench.store.outbox.stale(60) == []
    bench.clock.advance(seconds=61)
    unpublished = bench.queued()
    assert [job.case_id for job in bench.store.outbox.stale(60)] == [lost.id]
    assert bench.store.outbox.stale(60) == [], "it counts as published now"
    assert [job.case_id for job in bench.store.outbox.pending(10)] == [unpublished.id]
    bench.clock.advance(seconds=61)
    assert [job.id for job in bench.store.outbox.stale(60)] == [jobs[0].id], "under the same name"


def test_a_job_that_was_done_before_it_was_noted_as_published_is_gone(bench: Bench) -> None:
    case = bench.queued()
    (job,) = bench.store.outbox.pending(10)
    bench.finish(case.id)
    bench.store.outbox.published([job.id])
    assert bench.store.outbox.pending(10) == []
