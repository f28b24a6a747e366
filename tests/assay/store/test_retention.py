from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, select
from tests.assay.store.making import CLAIM, Bench, a_photo, files_in, refused, sha256

from assay.cases import Case, CaseState, Lane, Verdict
from assay.errors import Reason
from assay.store.tables import metadata
from assay.views import View

PERSONAL = "Mrs Smith, +49 151"


def personal_case(bench: Bench) -> Case:
    """One that holds something personal wherever it can."""
    tenant_id, store = bench.tenant.id, bench.store
    store.tenants.update(tenant_id, webhook_url="https://x.test")
    case = store.cases.create(tenant_id, CLAIM, Lane.NORMAL, PERSONAL, PERSONAL)
    content = PERSONAL.encode()
    store.cases.put_photo(tenant_id, case.id, a_photo(View.LOGO, content), content, content + b" small")
    store.cases.submit(tenant_id, case.id)
    store.cases.note_stages(case.id, {"compare": 3.0})
    heat_map = content + b" map"
    store.cases.finish(case.id, "report_1", Verdict.CONSISTENT, 0.5, content * 5000, {sha256(heat_map): heat_map}, 0.5)
    store.reviews.opine(tenant_id, case.id, "key_1", Verdict.CONSISTENT, PERSONAL)
    return store.cases.get(tenant_id, case.id)


def everything_stored(bench: Bench) -> bytes:
    engine = create_engine(bench.settings.database_url)
    with engine.connect() as connection:
        rows = [str(tuple(row)) for table in metadata.sorted_tables for row in connection.execute(select(table))]
    engine.dispose()
    return "\n".join(rows).encode() + b"\n".join(map(Path.read_bytes, files_in(bench.settings.home / "blobs")))


def test_nothing_personal_is_left(bench: Bench) -> None:
    case = personal_case(bench)
    assert PERSONAL.encode() in everything_stored(bench)
    bench.store.retention.erase(bench.tenant.id, case.id, "key_9")
    assert PERSONAL.encode() not in everything_stored(bench)
    assert files_in(bench.settings.home / "blobs") == []


def test_what_was_deleted_is_overwritten_in_sqlites_file(bench: Bench) -> None:
    case = personal_case(bench)
    bench.store.retention.erase(bench.tenant.id, case.id, "key_9")
    bench.store.close()  # the last connection moves what is left in the log to the file
    assert all(PERSONAL.encode() not in file.read_bytes() for file in files_in(bench.settings.home))


def test_the_log_stays_and_says_who_erased(bench: Bench) -> None:
    case = personal_case(bench)
    before = bench.store.audit.entries(bench.tenant.id)
    bench.store.retention.erase(bench.tenant.id, case.id, "key_9")
    *earlier, last = bench.store.audit.entries(bench.tenant.id)
    assert tuple(earlier) == before
    assert (last.actor, last.action, last.subject) == ("key_9", "case.erased", case.id)
    assert bench.store.audit.verify(bench.tenant.id) is None


def test_an_erased_case_is_seen_to_be_erased(bench: Bench) -> None:
    case = personal_case(bench)
    bench.store.retention.erase(bench.tenant.id, case.id, "key_9")
    erased = bench.store.cases.get(bench.tenant.id, case.id)
    assert (erased.state, erased.photos, erased.customer_reference) == (CaseState.ERASED, {}, "")
    with refused(Reason.NOT_FOUND, "has no report any more"):
        bench.store.reports.get(bench.tenant.id, case.id)
    with refused(Reason.NOT_FOUND, "there is no report"):
        bench.store.reports.issued("report_1")
    public = bench.store.reports.by_id("report_1")
    assert (public.verdict, public.is_erased) == (Verdict.CONSISTENT, True)
    with refused(Reason.CONFLICT, "was erased; make a new one"):
        bench.store.cases.submit(bench.tenant.id, case.id)


def test_again_changes_nothing(bench: Bench) -> None:
    case = personal_case(bench)
    bench.store.retention.erase(bench.tenant.id, case.id, "key_9")
    entries = bench.store.audit.entries(bench.tenant.id)
    bench.store.retention.erase(bench.tenant.id, case.id, "key_9")
    assert bench.store.audit.entries(bench.tenant.id) == entries


def test_a_case_erased_while_it_is_judged_gets_no_report(bench: Bench) -> None:
    case = bench.queued()
    bench.store.retention.erase(bench.tenant.id, case.id, "key_9")
    assert not bench.finish(case.id)
    assert bench.store.outbox.pending(10) == []
    assert bench.store.cases.get(bench.tenant.id, case.id).state is CaseState.ERASED


def test_content_that_two_cases_share_goes_with_the_last(bench: Bench) -> None:
    first, second = bench.draft([View.LOGO], salt="same"), bench.draft([View.LOGO], salt="same")
    content = first.photos[View.LOGO].sha256
    bench.store.retention.erase(bench.tenant.id, first.id, "key_9")
    assert bench.store.blobs.get(bench.tenant.id, content) is not None
    bench.store.retention.erase(bench.tenant.id, second.id, "key_9")
    assert bench.store.blobs.get(bench.tenant.id, content) is None


def test_cases_expire_when_their_tenants_time_is_over(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assay.store.retention._PAGE", 2)
    patient = bench.store.tenants.create("Patient", retention_days=400)
    old = [bench.reported() for _ in range(3)] + [bench.draft([View.LOGO])]
    kept = bench.reported(tenant=patient)
    bench.clock.advance(days=365)
    young = bench.reported()
    assert bench.store.retention.expire(bench.clock()) == 4
    assert bench.store.retention.expire(bench.clock()) == 0
    states = [bench.store.cases.work(case.id).state for case in (*old, kept, young)]
    assert states == [CaseState.ERASED] * 4 + [CaseState.REPORTED] * 2
    assert bench.store.audit.entries(bench.tenant.id, subject=old[0].id)[-1].actor == "system"
