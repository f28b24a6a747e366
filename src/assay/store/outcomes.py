"""How a case ends: one report, or given up. And the way back from there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, update

from assay.cases import Case, CaseState, Verdict
from assay.errors import Reason, Refusal
from assay.store.audit import append
from assay.store.blobs import digest, use
from assay.store.foundation import SYSTEM, Foundation
from assay.store.identifiers import new_id
from assay.store.rows import case_row, read_case
from assay.store.tables import cases, outbox, reports, reviews, stages
from assay.store.webhooks import announce

_FAILURE_CHARACTERS = 2000  # kept of why a case failed


class StageDone(NamedTuple):
    """A step of the judging that is over."""

    name: str
    ms: float


class Outcomes:
    """Part of ``Cases``: what workers and operators do. None of it asks for a tenant."""

    def __init__(self, foundation: Foundation) -> None:
        self._database = foundation.database
        self._blobs = foundation.blobs
        self._clock = foundation.clock
        self._news = foundation.news

    def work(self, case_id: str) -> Case:
        """The case to judge, of whichever tenant. Raises Refusal NOT_FOUND."""
        with self._database.reading() as connection:
            return read_case(connection, case_id)

    def note_stages(self, case_id: str, took_ms: Mapping[str, float]) -> None:
        """Stages of the judging are over, in this order. A stage that is done again, by another attempt, counts once:
        the last time. A line of progress is not worth a sync: the end of the machine may take it back.
        Raises Refusal NOT_FOUND."""
        now = self._clock()
        with self._database.writing(is_durable=False) as connection:
            case_row(connection, case_id, is_locked=True)
            connection.execute(delete(stages).where(stages.c.case_id == case_id, stages.c.name.in_(list(took_ms))))
            rows = [
                {"case_id": case_id, "name": name, "ms": ms, "at": now + timedelta(microseconds=place)}
                for place, (name, ms) in enumerate(took_ms.items())
            ]
            connection.execute(insert(stages), rows)
        self._news.tell(case_id)

    def finish(
        self,
        case_id: str,
        report_id: str,
        verdict: Verdict,
        score: float | None,
        report: bytes,
        artefacts: Mapping[str, bytes],
        risk: float,
    ) -> bool:
        """Give the case its report. False: it has one already, or was erased, and nothing changed.

        ``artefacts``: SHA-256 -> content of what the report shows besides the photographs. ``risk`` > 0: people look
        at it, the highest first. One transaction: the report, the case's state, the audit entry, the tenant's webhook
        and the review, so that whoever asks at any moment sees all of it or nothing.
        Raises Refusal NOT_FOUND, CONFLICT for a draft, UNAVAILABLE: call again, it is harmless.
        """
        tenant_id = self.work(case_id).tenant_id
        stored = self._blobs.put_all(tenant_id, list(artefacts.values()))
        assert stored == list(artefacts), "artefacts are named by their SHA-256"
        now = self._clock()
        with self._database.writing() as connection:
            row = case_row(connection, case_id, is_locked=True)
            if row.state in (CaseState.REPORTED, CaseState.ERASED):
                return False
            if row.state is CaseState.DRAFT:
                raise Refusal(Reason.CONFLICT, f"case {case_id} was not submitted; only a submitted case is judged")
            ids = {"id": report_id, "case_id": case_id, "tenant_id": tenant_id, "created_at": now}
            found = {"verdict": verdict, "score": score, "digest": digest(report), "document": report}
            connection.execute(insert(reports).values(**ids, **found))
            _end(connection, case_id, CaseState.REPORTED, report_id=report_id, verdict=verdict)
            if risk > 0:
                waiting = {"case_id": case_id, "tenant_id": tenant_id, "risk": risk, "waiting_since": now}
                connection.execute(insert(reviews).values(**waiting, claimed_by=""))
            details: dict[str, Any] = {"report_id": report_id, "digest": digest(report), "verdict": verdict.value}
            announce(connection, now, tenant_id, case_id, "case.reported", details)
            append(connection, now, tenant_id, SYSTEM, "case.reported", case_id, details)
            use(connection, self._blobs, tenant_id, case_id, {f"artefact/{sha256}": sha256 for sha256 in artefacts})
        self._news.tell(case_id)
        return True

    def fail(self, case_id: str, why: str) -> bool:
        """Give the case up: FAILED, until an operator queues it again. False: it is not QUEUED (any more).
        Raises Refusal NOT_FOUND."""
        now = self._clock()
        with self._database.writing() as connection:
            row = case_row(connection, case_id, is_locked=True)
            if row.state is not CaseState.QUEUED:
                return False
            kept = why.replace("\0", "").encode(errors="replace").decode()[:_FAILURE_CHARACTERS]
            _end(connection, case_id, CaseState.FAILED, failure=kept)
            announce(connection, now, row.tenant_id, case_id, "case.failed", {})
            append(connection, now, row.tenant_id, SYSTEM, "case.failed", case_id)
        self._news.tell(case_id)
        return True

    def requeue(self, case_id: str, traceparent: str = "", actor: str = SYSTEM) -> Case:
        """Queue a FAILED case again, as a new job. Raises Refusal NOT_FOUND, CONFLICT in any other state."""
        now = self._clock()
        with self._database.writing() as connection:
            row = case_row(connection, case_id, is_locked=True)
            if row.state is not CaseState.FAILED:
                raise Refusal(
                    Reason.CONFLICT, f"case {case_id} is {row.state.value}; only a failed case is queued again"
                )
            _end(connection, case_id, CaseState.QUEUED, failure="")
            connection.execute(delete(stages).where(stages.c.case_id == case_id))
            add_job(connection, row, now, traceparent)
            append(connection, now, row.tenant_id, actor, "case.queued_again", case_id)
            return read_case(connection, case_id)


def add_job(connection: Connection, row: Any, now: Any, traceparent: str) -> None:
    """Into the outbox, in the transaction that queues the case."""
    job = {"id": new_id("job"), "case_id": row.id, "lane": row.lane, "traceparent": traceparent, "created_at": now}
    connection.execute(insert(outbox).values(**job))


def _end(connection: Connection, case_id: str, state: CaseState, **changes: Any) -> None:
    """Whatever job there was, it is done."""
    connection.execute(update(cases).where(cases.c.id == case_id).values(state=state, **changes))
    connection.execute(delete(outbox).where(outbox.c.case_id == case_id))
