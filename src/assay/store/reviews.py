"""People's opinions on cases: two that do not see each other; where they differ, a third decides."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, exists, insert, or_, select, update

from assay.cases import Verdict
from assay.errors import Reason, Refusal, not_found
from assay.store.audit import append
from assay.store.foundation import Foundation
from assay.store.identifiers import check_text
from assay.store.rows import case_row
from assay.store.tables import cases, opinions, reports, reviews
from assay.store.webhooks import announce

CLAIM_S = 1800.0  # for which a claimed case is its reviewer's
_NOTE_CHARACTERS = 5000


@dataclass(frozen=True)
class Review:
    """A case that people look at."""

    case_id: str
    risk: float
    report_verdict: Verdict
    waiting_since: datetime
    opinions: int  # how many there are; not which
    claimed_by: str  # '': nobody
    verdict: Verdict | None  # None until decided
    decided_at: datetime | None


@dataclass(frozen=True)
class Opinion:
    """What one person found."""

    reviewer: str
    ordinal: int  # 1, 2, or 3: the one that decided
    verdict: Verdict
    note: str
    at: datetime


class Reviews:
    """The queue of cases for people. ``reviewer`` is a name without anything personal, such as a key's id: it is
    written to the audit log."""

    def __init__(self, foundation: Foundation) -> None:
        self._database = foundation.database
        self._clock = foundation.clock

    def waiting(self, tenant_id: str, most: int = 50) -> list[Review]:
        """Undecided cases, the highest risk first."""
        query = _reviews(tenant_id).where(reviews.c.decided_at.is_(None))
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(*_URGENCY).limit(most)).all()
            return [self._review(connection, row) for row in rows]

    def claim(self, tenant_id: str, reviewer: str) -> Review | None:
        """The riskiest case that nobody else has claimed and this reviewer has no opinion on, theirs for half an
        hour; the one they have already, if any. None: there is none."""
        now = self._clock()
        free = or_(reviews.c.claimed_by.in_(("", reviewer)), reviews.c.claimed_until < now)
        own = exists().where(opinions.c.case_id == reviews.c.case_id, opinions.c.reviewer == reviewer)
        query = _reviews(tenant_id).where(reviews.c.decided_at.is_(None), free, ~own)
        first = query.order_by((reviews.c.claimed_by == reviewer).desc(), *_URGENCY).limit(1)
        with self._database.writing() as connection:
            row = connection.execute(first.with_for_update(skip_locked=True, of=reviews)).one_or_none()
            if row is None:
                return None
            until = now + timedelta(seconds=CLAIM_S)
            claimed = update(reviews).where(reviews.c.case_id == row.case_id)
            connection.execute(claimed.values(claimed_by=reviewer, claimed_until=until))
            if row.claimed_by != reviewer:
                append(connection, now, tenant_id, reviewer, "review.claimed", row.case_id)
            taken = connection.execute(_reviews(tenant_id).where(reviews.c.case_id == row.case_id)).one()
            return self._review(connection, taken)

    def opine(self, tenant_id: str, case_id: str, reviewer: str, verdict: Verdict, note: str = "") -> Review:
        """Give an opinion. Two that agree decide; of two that differ, a third one decides. What is decided is the
        case's verdict from then on; the report stays as it was issued.

        Raises Refusal NOT_FOUND, INVALID, CONFLICT when it is decided, claimed by someone else, or the reviewer has
        given an opinion on it.
        """
        check_text("the note", note, _NOTE_CHARACTERS)
        now = self._clock()
        with self._database.writing() as connection:
            case_row(connection, case_id, tenant_id, is_locked=True)
            review = _open_review(connection, case_id, reviewer, now)
            earlier = _opinions(connection, case_id)
            if any(opinion.reviewer == reviewer for opinion in earlier):
                raise Refusal(Reason.CONFLICT, f"{reviewer} gave an opinion on case {case_id}; another person has to")
            row = {"case_id": case_id, "reviewer": reviewer, "ordinal": len(earlier) + 1, "verdict": verdict}
            connection.execute(insert(opinions).values(**row, note=note, at=now))
            unclaimed = {"claimed_by": "", "claimed_until": None}
            connection.execute(update(reviews).where(reviews.c.case_id == case_id).values(**unclaimed))
            told: dict[str, Any] = {"verdict": verdict.value, "ordinal": len(earlier) + 1}
            append(connection, now, tenant_id, reviewer, "review.opinion", case_id, told)
            if len(earlier) == 2 or any(opinion.verdict is verdict for opinion in earlier):
                _decide(connection, now, tenant_id, case_id, reviewer, verdict, review.report_verdict)
            return self._review(connection, connection.execute(_reviews(tenant_id, case_id)).one())

    def history(self, tenant_id: str, case_id: str, reviewer: str = "") -> tuple[Opinion, ...]:
        """All opinions once the case is decided; before that the reviewer's own alone, so that the second person does
        not see what the first one found. Raises Refusal NOT_FOUND."""
        with self._database.reading() as connection:
            case_row(connection, case_id, tenant_id)
            decided = connection.scalar(select(reviews.c.decided_at).where(reviews.c.case_id == case_id))
            found = _opinions(connection, case_id)
        return tuple(opinion for opinion in found if decided is not None or opinion.reviewer == reviewer)

    def _review(self, connection: Connection, row: Any) -> Review:
        is_claimed = row.claimed_until is not None and row.claimed_until >= self._clock()
        return Review(
            case_id=row.case_id,
            risk=row.risk,
            report_verdict=row.report_verdict,
            waiting_since=row.waiting_since,
            opinions=len(_opinions(connection, row.case_id)),
            claimed_by=row.claimed_by if is_claimed else "",
            verdict=row.verdict,
            decided_at=row.decided_at,
        )


_URGENCY = (reviews.c.risk.desc(), reviews.c.waiting_since, reviews.c.case_id)


def _reviews(tenant_id: str, case_id: str = "") -> Any:
    query = select(reviews, reports.c.verdict.label("report_verdict"))
    query = query.join(reports, reports.c.case_id == reviews.c.case_id).where(reviews.c.tenant_id == tenant_id)
    return query.where(reviews.c.case_id == case_id) if case_id else query


def _opinions(connection: Connection, case_id: str) -> list[Opinion]:
    query = select(opinions).where(opinions.c.case_id == case_id).order_by(opinions.c.ordinal)
    return [Opinion(row.reviewer, row.ordinal, row.verdict, row.note, row.at) for row in connection.execute(query)]


def _open_review(connection: Connection, case_id: str, reviewer: str, now: datetime) -> Any:
    query = select(reviews, reports.c.verdict.label("report_verdict"))
    query = query.join(reports, reports.c.case_id == reviews.c.case_id).where(reviews.c.case_id == case_id)
    row = connection.execute(query.with_for_update(of=reviews)).one_or_none()
    if row is None:
        raise not_found(f"case {case_id} is not up for review")
    if row.decided_at is not None:
        raise Refusal(Reason.CONFLICT, f"case {case_id} is decided: {row.verdict.value}")
    if row.claimed_by not in ("", reviewer) and row.claimed_until >= now:
        raise Refusal(Reason.CONFLICT, f"case {case_id} is with another reviewer until {row.claimed_until:%H:%M} UTC")
    return row


def _decide(
    connection: Connection,
    now: datetime,
    tenant_id: str,
    case_id: str,
    reviewer: str,
    verdict: Verdict,
    report_verdict: Verdict,
) -> None:
    decision = {"verdict": verdict, "decided_at": now}
    connection.execute(update(reviews).where(reviews.c.case_id == case_id).values(**decision))
    connection.execute(update(cases).where(cases.c.id == case_id).values(verdict=verdict))
    told: dict[str, Any] = {"verdict": verdict.value, "report_verdict": report_verdict.value}
    action = "review.confirmed" if verdict is report_verdict else "review.overridden"
    append(connection, now, tenant_id, reviewer, action, case_id, told)
    announce(connection, now, tenant_id, case_id, "case.reviewed", told)
