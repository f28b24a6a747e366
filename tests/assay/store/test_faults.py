"""The database goes away and comes back."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.assay.postgres import PostgresServer, why_no_postgres
from sqlalchemy import create_engine, select
from tests.assay.store.making import Bench, HandClock, refused

from assay.cases import CaseState
from assay.errors import Reason, Refusal
from assay.settings import Settings
from assay.store import Store
from assay.store.tables import cases, outbox, photos, reports


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """One that may be killed: nobody else uses it."""
    if why_no_postgres():
        pytest.skip(why_no_postgres())
    with PostgresServer() as server:
        yield server


@pytest.fixture
def mortal(server: PostgresServer, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(Settings(tmp_path, store_url=server.new_database()), HandClock())
    yield bench
    bench.store.close()


def test_a_call_says_so_and_the_one_after_the_restart_works(mortal: Bench, server: PostgresServer) -> None:
    case = mortal.queued()
    server.kill()
    for call in (mortal.store.check, mortal.store.cases.counts, lambda: mortal.finish(case.id)):
        with refused(Reason.UNAVAILABLE, "the database does not answer now; try again in 1 s") as caught:
            call()
        assert caught.value.retry_after_s == 1.0
        assert str(mortal.settings.home) not in caught.value.message
    server.restart()
    assert mortal.store.cases.work(case.id) == case
    assert mortal.finish(case.id)


def test_a_restart_between_two_calls_is_not_noticed(mortal: Bench, server: PostgresServer) -> None:
    case = mortal.queued()
    server.kill()
    server.restart()
    assert mortal.store.cases.work(case.id) == case


def test_a_transaction_that_the_server_dies_in_leaves_nothing(mortal: Bench, server: PostgresServer) -> None:
    """Killed between the statements of one transaction, before its last."""
    case = mortal.queued()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("assay.store.outcomes.use", lambda *_: server.kill())
        with refused(Reason.UNAVAILABLE, "does not answer"):
            mortal.finish(case.id, risk=0.5)
    server.restart()
    assert mortal.store.cases.work(case.id) == case
    assert mortal.store.reviews.waiting(mortal.tenant.id) == []
    with refused(Reason.NOT_FOUND, "has no report yet"):
        mortal.store.reports.get(mortal.tenant.id, case.id)
    assert mortal.finish(case.id)


def test_a_store_cannot_be_opened_without_its_server(mortal: Bench, server: PostgresServer) -> None:
    server.kill()
    with refused(Reason.UNAVAILABLE, "does not answer"):
        Store(mortal.settings, mortal.clock)


def test_work_goes_on_after_a_crash_and_nothing_is_half_written(mortal: Bench, server: PostgresServer) -> None:
    """Four threads make and finish cases while the server is killed twice."""
    done: queue.Queue[str] = queue.Queue()
    lost: queue.Queue[Exception] = queue.Queue()
    back, over = threading.Event(), threading.Event()

    def work() -> None:
        while not over.is_set():
            try:
                done.put(mortal.reported().id)
            except Exception as err:
                lost.put(err)
                back.wait()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    errors: list[Exception] = []
    for _ in range(2):
        for _ in range(6):
            done.get(timeout=60)
        back.clear()
        server.kill()
        errors += [lost.get(timeout=60) for _ in threads]
        server.restart()
        back.set()
    for _ in range(6):
        done.get(timeout=60)
    over.set()
    for thread in threads:
        thread.join()
    assert [err.reason for err in errors if isinstance(err, Refusal)] == [Reason.UNAVAILABLE] * 8, errors
    assert lost.empty()
    _check_whole(mortal)


def _check_whole(bench: Bench) -> None:
    """Every queued case has its job, every reported one its report, no other has either."""
    engine = create_engine(bench.settings.database_url)
    with engine.connect() as connection:
        states = {row.id: row.state for row in connection.execute(select(cases.c.id, cases.c.state))}
        with_job, with_report = (list(connection.scalars(select(t.c.case_id))) for t in (outbox, reports))
        with_photo = set(connection.scalars(select(photos.c.case_id)))
    engine.dispose()
    for case_id, state in states.items():
        assert with_job.count(case_id) == (state is CaseState.QUEUED)
        assert with_report.count(case_id) == (state is CaseState.REPORTED)
        assert case_id in with_photo or state is CaseState.DRAFT
        actions = [entry.action for entry in bench.store.audit.entries(bench.tenant.id, subject=case_id)]
        assert actions.count("case.submitted") == (state is not CaseState.DRAFT)
        assert actions.count("case.reported") == (state is CaseState.REPORTED)
    assert bench.store.audit.verify(bench.tenant.id) is None


class TestSqlite:
    def test_a_writer_that_waits_too_long_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("assay.store.database.WAIT_S", 0.05)
        bench = Bench(Settings(tmp_path), HandClock())
        draft = bench.draft()
        engine = create_engine(bench.settings.database_url)
        with engine.connect() as another:
            another.exec_driver_sql("BEGIN IMMEDIATE")
            with refused(Reason.UNAVAILABLE, "does not answer"):
                bench.store.cases.submit(bench.tenant.id, draft.id)
            assert bench.store.cases.get(bench.tenant.id, draft.id) == draft, "readers never wait"
            another.rollback()
        assert bench.store.cases.submit(bench.tenant.id, draft.id).state is CaseState.QUEUED
        bench.store.close()

    def test_a_file_that_is_no_database_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "assay.sqlite").write_bytes(b"a shopping list, and nothing else" * 100)
        with refused(Reason.INVALID, "is not a database"):
            Store(Settings(tmp_path), HandClock())

    def test_a_folder_that_cannot_be_made_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with refused(Reason.INVALID, "cannot be made: Not a directory"):
            Store(replace(Settings(tmp_path / "file" / "home")), HandClock())
