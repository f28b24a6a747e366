"""Threads and processes at the same rows at once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import create_engine, func, select
from tests.assay.store.making import CLAIM, Bench, HandClock, a_photo
from tests.assay.store.racing import all_at_once, append_entries, finish_all, in_processes

from assay.cases import CaseState, Lane, Verdict
from assay.errors import Reason, Refusal
from assay.store.tables import reports
from assay.views import VIEWS, View


def test_threads_finish_a_case_once(bench: Bench) -> None:
    cases = [bench.queued() for _ in range(5)]
    for case in cases:
        results = all_at_once([partial(_finish, bench, case.id, n) for n in range(4)])
        assert sorted(results) == [False, False, False, True]
    _check_one_report_each(bench, [case.id for case in cases])


def test_processes_finish_a_case_once(bench: Bench) -> None:
    case_ids = [bench.queued().id for _ in range(8)]
    first, second = in_processes(2, finish_all, bench.settings, case_ids)
    assert [a + b for a, b in zip(first, second, strict=True)] == [1] * 8, (first, second)
    _check_one_report_each(bench, case_ids)
    assert bench.store.audit.verify(bench.tenant.id) is None


def _finish(bench: Bench, case_id: str, n: int) -> bool:
    return bench.store.cases.finish(case_id, f"report_{case_id}_{n}", Verdict.CONSISTENT, 0.1, b"%d" % n, {}, 0.5)


def _check_one_report_each(bench: Bench, case_ids: list[str]) -> None:
    engine = create_engine(bench.settings.database_url)
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(reports)) == len(case_ids)
    engine.dispose()
    for case_id in case_ids:
        case = bench.store.cases.work(case_id)
        assert case.state is CaseState.REPORTED
        assert bench.store.reports.get(bench.tenant.id, case_id).id == case.report_id
        actions = [entry.action for entry in bench.store.audit.entries(bench.tenant.id, subject=case_id)]
        assert actions.count("case.reported") == 1
    assert len(bench.store.reviews.waiting(bench.tenant.id)) == len(case_ids)


def test_the_chain_never_forks_between_threads(bench: Bench) -> None:
    append = bench.store.audit.append
    calls = [partial(append, bench.tenant.id, f"key_{n}", "test.entry", "case_1") for n in range(24)]
    entries = all_at_once(calls)
    assert sorted(entry.seq for entry in entries) == list(range(2, 26))
    assert bench.store.audit.verify(bench.tenant.id) is None


def test_the_chain_never_forks_between_processes(bench: Bench) -> None:
    in_processes(2, append_entries, bench.settings, bench.tenant.id, 25)
    assert bench.store.audit.head(bench.tenant.id).seq == 51
    assert bench.store.audit.verify(bench.tenant.id) is None


def test_one_idempotency_key_makes_one_case(bench: Bench) -> None:
    create = bench.store.cases.create
    cases = all_at_once([partial(create, bench.tenant.id, CLAIM, Lane.NORMAL, "", "key") for _ in range(6)])
    assert len({case.id for case in cases}) == 1
    assert len(bench.store.cases.find(bench.tenant.id)[0]) == 1


def test_submitting_at_once_makes_one_job(bench: Bench) -> None:
    case = bench.draft([View.LOGO])
    submitted = all_at_once([partial(bench.store.cases.submit, bench.tenant.id, case.id) for _ in range(4)])
    assert {found.state for found in submitted} == {CaseState.QUEUED}
    assert len(bench.store.outbox.pending(10)) == 1


def test_six_photos_at_once(bench: Bench) -> None:
    case = bench.draft([])
    put = partial(bench.store.cases.put_photo, bench.tenant.id, case.id)
    contents = [view.value.encode() for view in VIEWS]
    puts = [partial(put, a_photo(v, c), c, c + b" small") for v, c in zip(VIEWS, contents, strict=True)]
    assert all_at_once(puts) == [None] * 6
    assert tuple(bench.store.cases.get(bench.tenant.id, case.id).photos) == VIEWS


@pytest.mark.parametrize("kind", ["folder", "database"])
def test_shared_content_is_there_while_anyone_uses_it(bench: Bench, kind: str) -> None:
    """One case lets go of the content while another takes it up, many times."""
    bench = Bench(replace(bench.settings, blobs=kind), bench.clock)
    content, photo = b"shared", a_photo(View.LOGO, b"shared")
    for _ in range(8):
        leaving, coming = bench.draft([], salt="x"), bench.draft([])
        put = partial(bench.store.cases.put_photo, bench.tenant.id, photo=photo, original=content, picture=b"p")
        put(case_id=leaving.id)
        erase = partial(bench.store.retention.erase, bench.tenant.id, leaving.id, "key_1")
        erased, taken = all_at_once([erase, partial(put, case_id=coming.id)])
        assert erased is None
        if isinstance(taken, Refusal):
            assert taken.reason is Reason.UNAVAILABLE
            put(case_id=coming.id)
        assert bench.store.blobs.get(bench.tenant.id, photo.sha256) == content
        bench.store.retention.erase(bench.tenant.id, coming.id, "key_1")
        assert bench.store.blobs.get(bench.tenant.id, photo.sha256) is None
    bench.store.close()


def test_reviewers_at_once_get_different_cases(bench: Bench) -> None:
    for risk in (0.2, 0.4, 0.6):
        bench.reported(risk=risk)
    claims = all_at_once([partial(bench.store.reviews.claim, bench.tenant.id, f"key_{n}") for n in range(3)])
    ids = [claim.case_id for claim in claims if claim is not None]
    assert len(ids) == len(set(ids)) == 3


def test_opinions_at_once_are_counted_once_each(bench: Bench) -> None:
    case = bench.reported(risk=0.5)
    opine = partial(bench.store.reviews.opine, bench.tenant.id, case.id)
    reviews = all_at_once([partial(opine, f"key_{n}", Verdict.CONSISTENT) for n in range(2)])
    assert sorted(review.opinions for review in reviews) == [1, 2]
    assert [review.verdict for review in reviews if review.opinions == 2] == [Verdict.CONSISTENT]


def test_deliveries_are_handed_out_once(bench: Bench) -> None:
    bench.store.tenants.update(bench.tenant.id, webhook_url="https://x.test")
    for _ in range(6):
        bench.reported()
    handed_out = all_at_once([partial(bench.store.webhooks.due, 2)] * 3)
    ids = [delivery.id for some in handed_out for delivery in some]
    assert len(ids) == len(set(ids))


def test_erasing_reviewing_and_finishing_at_once_never_wait_for_each_other(bench: Bench, clock: HandClock) -> None:
    for _ in range(5):
        case = bench.reported(risk=0.5)
        results = all_at_once(
            [
                partial(bench.store.retention.erase, bench.tenant.id, case.id, "key_1"),
                partial(bench.store.reviews.opine, bench.tenant.id, case.id, "key_2", Verdict.CONSISTENT),
                partial(bench.store.reviews.claim, bench.tenant.id, "key_3"),
                partial(bench.finish, case.id),
            ]
        )
        assert results[0] is None
        assert not results[3]
        refusals = [r.reason for r in results if isinstance(r, Exception)]
        assert set(refusals) <= {Reason.NOT_FOUND, Reason.CONFLICT}, results
