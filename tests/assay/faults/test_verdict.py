"""What is judged after a storm: each way in which it could have gone wrong is seen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from benchmarks.assay.faults.load import Accepted
from benchmarks.assay.faults.receiver import Receiver
from benchmarks.assay.faults.rigs import Customer, Rig
from benchmarks.assay.faults.verdict import broken
from sqlalchemy import create_engine, delete, insert, update
from tests.assay.store.making import Bench, HandClock

from assay.cases import Case
from assay.settings import Settings
from assay.store.tables import audit_entries, deliveries, reports

UNSIGNED = "The document is not a report"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(Settings(tmp_path), HandClock())
    bench.store.tenants.update(bench.tenant.id, webhook_url="https://customer.test/reported")
    yield bench
    bench.store.close()


def all_found(bench: Bench, *cases: Case) -> list[str]:
    """About these cases, for which a 202 was received."""
    rig = Rig(bench.settings, (), {}, {}, (Customer(bench.tenant.id, "", ""),))
    accepted = [Accepted(case.id, bench.tenant.id, case.id, bench.clock(), 0.0, 1) for case in cases]
    with Receiver() as receiver:
        receiver.cases = {case.id: {"delivery"} for case in cases}
        return broken(rig, accepted, receiver)


def found(bench: Bench, *cases: Case) -> list[str]:
    """But for the reports' signatures, which they do not have here."""
    return [line for line in all_found(bench, *cases) if UNSIGNED not in line]


def change(bench: Bench, statement: object) -> None:
    engine = create_engine(bench.settings.database_url)
    with closing(engine.connect()) as connection:
        connection.execute(statement)  # type: ignore[call-overload]
        connection.commit()
    engine.dispose()


def test_a_reported_case_is_whole(bench: Bench) -> None:
    assert found(bench, bench.reported()) == []


def test_a_case_that_waits_is_seen(bench: Bench) -> None:
    case = bench.queued()
    lines = found(bench, case)
    assert f"case {case.id} is queued" in lines
    assert f"case {case.id} has 0 reports" in lines
    assert "1 jobs lie in the outbox" in lines


def test_a_case_that_failed_is_seen(bench: Bench) -> None:
    case = bench.queued()
    bench.store.cases.fail(case.id, "why")
    assert f"case {case.id} is failed" in found(bench, case)


def test_a_case_that_is_gone_is_seen(bench: Bench) -> None:
    case, other = bench.reported(), Bench(bench.settings, bench.clock).draft()
    assert f"case {other.id} was made and never accepted" in found(bench, case)
    gone = Case("case_gone", case.tenant_id, case.claim, case.lane, case.state, case.created_at)
    assert "case case_gone was accepted and is not there" in found(bench, case, gone)


def test_a_report_that_was_not_issued_is_seen(bench: Bench) -> None:
    case = bench.reported()
    assert any(line.startswith(f"case {case.id}: {UNSIGNED}") for line in all_found(bench, case))


def test_a_missing_report_is_seen(bench: Bench) -> None:
    case = bench.reported()
    change(bench, delete(reports))
    assert found(bench, case) == [f"case {case.id} has 0 reports"]


def test_a_webhook_too_many_is_seen(bench: Bench) -> None:
    case = bench.reported()
    row = {"id": "second", "tenant_id": bench.tenant.id, "case_id": case.id, "event": "case.reported", "body": "{}"}
    change(bench, insert(deliveries).values(**row, attempts=0, created_at=bench.clock(), failure=""))
    assert found(bench, case) == [f"case {case.id} has 2 webhooks"]


def test_an_entry_that_was_changed_is_seen(bench: Bench) -> None:
    case = bench.reported()
    change(bench, update(audit_entries).where(audit_entries.c.action == "case.reported").values(subject="another"))
    lines = found(bench, case)
    assert f"case {case.id} has 0 case.reported" in lines
    assert any(line.startswith(f"audit of {bench.tenant.id}") for line in lines)
