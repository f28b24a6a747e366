"""Cases: made as drafts, submitted, watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, func, select, update

from assay.cases import Case, CaseState, Claim, Lane, Verdict
from assay.errors import Reason, Refusal, invalid
from assay.store.audit import append, lock_chain
from assay.store.database import insert_new
from assay.store.foundation import SYSTEM, Foundation
from assay.store.identifiers import check_text, new_id
from assay.store.outcomes import Outcomes, StageDone, add_job
from assay.store.photographs import Given, Photographs
from assay.store.rows import as_cases, case_row, read_case
from assay.store.search import Search
from assay.store.tables import cases, outbox, photos, reports, reviews, stages

E = TypeVar("E", bound=Enum)
RETRY_AFTER_S = 5.0  # of who finds the queue full


@dataclass(frozen=True)
class Counts:
    """What there is, of all tenants together."""

    by_state: Mapping[CaseState, int]
    by_verdict: Mapping[Verdict, int]  # of all reports, of erased cases too: it never falls
    unpublished: int  # jobs in the outbox
    waiting_reviews: int
    oldest_waiting_at: datetime | None  # when the QUEUED case that waits longest was submitted
    oldest_review_at: datetime | None  # since when the case waits that waits longest for people


class Cases(Photographs, Search, Outcomes):
    """All that is done with cases. What takes a tenant's id knows no other tenant's cases: they are NOT_FOUND."""

    def __init__(self, foundation: Foundation) -> None:
        Photographs.__init__(self, foundation)
        Search.__init__(self, foundation)
        Outcomes.__init__(self, foundation)
        self._most_waiting = foundation.most_waiting

    def create(
        self,
        tenant_id: str,
        claim: Claim,
        lane: Lane,
        customer_reference: str = "",
        idempotency_key: str = "",
        actor: str = SYSTEM,
    ) -> Case:
        """A new draft; with an idempotency key that the tenant gave before, the case it was given for.
        Raises Refusal INVALID, NOT_FOUND for an unknown tenant, CONFLICT when the key was given for something else."""
        case = Case(new_id("case"), tenant_id, claim, lane, CaseState.DRAFT, self._clock(), None, customer_reference)
        values = _new_values(case, idempotency_key)
        with self._database.writing() as connection:
            return _added(connection, case, values, actor)

    def accept(
        self,
        tenant_id: str,
        claim: Claim,
        lane: Lane,
        given: Sequence[Given],
        customer_reference: str = "",
        idempotency_key: str = "",
        traceparent: str = "",
        actor: str = SYSTEM,
    ) -> Case:
        """``create``, a ``put_photo`` for each photograph and ``submit``, of which all happens or nothing, durable
        together. With an idempotency key whose case was submitted before, that case, unchanged. Raises as they do."""
        check_text("traceparent", traceparent)
        case = Case(new_id("case"), tenant_id, claim, lane, CaseState.DRAFT, self._clock(), None, customer_reference)
        values = _new_values(case, idempotency_key)
        shown = self._put_blobs(tenant_id, given)
        with self._database.writing() as connection:
            made = _added(connection, case, values, actor)
            if made is case:
                self._keep(connection, tenant_id, case.id, shown, actor)
                return self._queued(connection, case, traceparent, actor)
        if made.state is CaseState.DRAFT:  # another transaction: a row that others know is locked before the chain
            with self._database.writing() as connection:
                draft = _locked_draft(connection, tenant_id, made.id)
                if draft is None:
                    return read_case(connection, made.id, tenant_id)
                replaced = self._drop(connection, made.id, [photo.view for photo, _ in shown])
                self._keep(connection, tenant_id, made.id, shown, actor)
                made = self._queued(connection, draft, traceparent, actor)
            self._remove(tenant_id, replaced)
        return made

    def check_room(self) -> None:
        """Raises Refusal OVERLOADED when ``submit`` would, before there is anything to submit."""
        with self._database.reading() as connection:
            self._check_room(connection)

    def get(self, tenant_id: str, case_id: str) -> Case:
        """Raises Refusal NOT_FOUND."""
        with self._database.reading() as connection:
            return read_case(connection, case_id, tenant_id)

    def submit(self, tenant_id: str, case_id: str, traceparent: str = "", actor: str = SYSTEM) -> Case:
        """Accept the case: from now on it ends in a report, or FAILED. Again: the case as it is by now.

        Missing views are allowed and end as NEEDS PHOTOS. Raises Refusal NOT_FOUND, INVALID without any photograph,
        CONFLICT when it was erased, OVERLOADED with a time to wait when ``most_waiting`` cases are QUEUED (exactly so
        on SQLite; on PostgreSQL submissions at the same moment may exceed it by their number).
        """
        check_text("traceparent", traceparent)
        with self._database.writing() as connection:
            draft = _locked_draft(connection, tenant_id, case_id)
            if draft is None:
                return read_case(connection, case_id, tenant_id)
            case = self._queued(connection, draft, traceparent, actor)
        self._news.tell(case_id)
        return case

    def progress(self, tenant_id: str, case_id: str) -> tuple[StageDone, ...]:
        """The stages of the judging that are over, in the order in which they ended. Raises Refusal NOT_FOUND."""
        done = select(stages.c.name, stages.c.ms).where(stages.c.case_id == case_id)
        with self._database.reading() as connection:
            case_row(connection, case_id, tenant_id)
            rows = connection.execute(done.order_by(stages.c.at, stages.c.name))
            return tuple(StageDone(row.name, row.ms) for row in rows)

    def counts(self) -> Counts:
        """For metrics."""
        with self._database.reading() as connection:
            by_state = _by(connection, cases.c.state, CaseState)
            by_verdict = _by(connection, reports.c.verdict, Verdict)
            unpublished = connection.scalar(select(func.count()).where(outbox.c.published_at.is_(None)))
            undecided = reviews.c.decided_at.is_(None)
            waiting, since = connection.execute(
                select(func.count(), func.min(reviews.c.waiting_since)).where(undecided)
            ).one()
            queued = cases.c.state == CaseState.QUEUED
            oldest = connection.scalar(select(func.min(cases.c.submitted_at)).where(queued))
        return Counts(by_state, by_verdict, unpublished or 0, waiting, oldest, since)

    def _queued(self, connection: Connection, draft: Any, traceparent: str, actor: str) -> Case:
        """The draft, submitted."""
        if connection.scalar(select(photos.c.view).where(photos.c.case_id == draft.id).limit(1)) is None:
            raise invalid(f"case {draft.id} has no photograph; expected at least one, of six")
        self._check_room(connection)
        now = self._clock()
        queued = {"state": CaseState.QUEUED, "submitted_at": now}
        connection.execute(update(cases).where(cases.c.id == draft.id).values(**queued))
        add_job(connection, draft, now, traceparent)
        append(connection, now, draft.tenant_id, actor, "case.submitted", draft.id)
        return read_case(connection, draft.id, draft.tenant_id)

    def _check_room(self, connection: Connection) -> None:
        waiting = connection.scalar(select(func.count()).where(cases.c.state == CaseState.QUEUED)) or 0
        if waiting >= self._most_waiting:
            wait = f"{waiting} cases wait; at most {self._most_waiting} may; try again in {RETRY_AFTER_S:g} s"
            raise Refusal(Reason.OVERLOADED, wait, RETRY_AFTER_S)


def _by(connection: Connection, column: Column[Any], kind: type[E]) -> dict[E, int]:
    """How many rows have each value."""
    found = {row[0]: row[1] for row in connection.execute(select(column, func.count()).group_by(column))}
    return {value: found.get(value, 0) for value in kind}


def _locked_draft(connection: Connection, tenant_id: str, case_id: str) -> Any | None:
    """The draft's row, locked; None when it was submitted before. Raises Refusal NOT_FOUND, CONFLICT."""
    row = case_row(connection, case_id, tenant_id, is_locked=True)
    if row.state is CaseState.ERASED:
        raise Refusal(Reason.CONFLICT, f"case {case_id} was erased; make a new one")
    return row if row.state is CaseState.DRAFT else None


def _added(connection: Connection, case: Case, values: Mapping[str, Any], actor: str) -> Case:
    """The new case; the one that its idempotency key was given for before, if any."""
    lock_chain(connection, case.tenant_id)
    added = insert_new(connection, cases).values(**values).on_conflict_do_nothing().returning(cases.c.id)
    if connection.scalar(added) is None:
        return _made_before(connection, case, values["idempotency_key"])
    append(connection, case.created_at, case.tenant_id, actor, "case.created", case.id)
    return case


def _new_values(case: Case, idempotency_key: str) -> dict[str, Any]:
    return {
        "id": case.id,
        "tenant_id": case.tenant_id,
        "brand": check_text("brand", case.claim.brand),
        "model": check_text("model", case.claim.model),
        "lane": case.lane,
        "state": case.state,
        "customer_reference": check_text("the customer reference", case.customer_reference),
        "idempotency_key": check_text("the idempotency key", idempotency_key) or None,
        "created_at": case.created_at,
        "report_id": "",
        "failure": "",
    }


def _made_before(connection: Connection, case: Case, idempotency_key: str) -> Case:
    """The case that the key was given for."""
    mine = (cases.c.tenant_id == case.tenant_id) & (cases.c.idempotency_key == idempotency_key)
    made = as_cases(connection, connection.execute(select(cases).where(mine)))[0]
    if (made.claim, made.lane, made.customer_reference) == (case.claim, case.lane, case.customer_reference):
        return made
    raise Refusal(
        Reason.CONFLICT,
        f"idempotency key {idempotency_key!r} made case {made.id} of another claim, lane or reference; "
        "take a new key for a new case",
    )
