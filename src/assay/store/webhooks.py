"""Webhooks to deliver: written with what they tell, delivered by the web, tried again until it works."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from assay.store.audit import Json, canonical
from assay.store.database import Database
from assay.store.identifiers import new_id
from assay.store.tables import deliveries, tenants

HOLD_S = 60.0  # for which a delivery that was handed out is not handed out again
_FAILURE_CHARACTERS = 500


@dataclass(frozen=True)
class Delivery:
    """One POST to make. Sign ``body`` with HMAC and ``secret``; ``id`` is the same at each attempt."""

    id: str
    tenant_id: str
    case_id: str
    url: str
    secret: str
    event: str  # case.reported, case.failed, case.reviewed
    body: bytes  # JSON: id, event, at, case_id, and what the event tells
    attempts: int  # that failed before
    created_at: datetime


class Webhooks:
    """What is to be told to tenants."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def due(self, most: int = 20, hold_s: float = HOLD_S) -> list[Delivery]:
        """The deliveries that are due, oldest first. Each is this caller's for ``hold_s``, then it is due again."""
        now = self._clock()
        query = select(deliveries, tenants.c.webhook_url, tenants.c.webhook_secret)
        query = query.join(tenants, tenants.c.id == deliveries.c.tenant_id).where(deliveries.c.due_at <= now)
        mine = query.order_by(deliveries.c.due_at, deliveries.c.id).limit(most)
        with self._database.writing() as connection:
            rows = connection.execute(mine.with_for_update(skip_locked=True, of=deliveries)).all()
            held = deliveries.c.id.in_([row.id for row in rows])
            connection.execute(update(deliveries).where(held).values(due_at=now + timedelta(seconds=hold_s)))
        return [_delivery(row) for row in rows]

    def delivered(self, delivery_id: str) -> None:
        """The tenant has it."""
        self._settle(delivery_id, due_at=None, delivered_at=self._clock())

    def failed(self, delivery_id: str, retry_at: datetime | None, why: str = "") -> None:
        """The tenant did not take it; None: it is given up."""
        kept = why.replace("\0", "").encode(errors="replace").decode()[:_FAILURE_CHARACTERS]
        self._settle(delivery_id, due_at=retry_at, failure=kept, attempts=deliveries.c.attempts + 1)

    def _settle(self, delivery_id: str, **changes: Any) -> None:
        open_one = (deliveries.c.id == delivery_id) & deliveries.c.delivered_at.is_(None)
        with self._database.writing() as connection:
            connection.execute(update(deliveries).where(open_one).values(**changes))


def announce(
    connection: Connection, now: datetime, tenant_id: str, case_id: str, event: str, told: Mapping[str, Json]
) -> None:
    """Tell the tenant, if it has a URL for it, once the transaction is committed."""
    url = connection.scalar(select(tenants.c.webhook_url).where(tenants.c.id == tenant_id))
    if not url:
        return
    delivery_id = new_id("delivery")
    body = canonical({"id": delivery_id, "event": event, "at": now.isoformat(), "case_id": case_id, **told})
    row = {"id": delivery_id, "tenant_id": tenant_id, "case_id": case_id, "event": event, "body": body}
    connection.execute(insert(deliveries).values(**row, attempts=0, created_at=now, due_at=now, failure=""))


def _delivery(row: Any) -> Delivery:
    return Delivery(
        id=row.id,
        tenant_id=row.tenant_id,
        case_id=row.case_id,
        url=row.webhook_url,
        secret=row.webhook_secret,
        event=row.event,
        body=row.body.encode(),
        attempts=row.attempts,
        created_at=row.created_at,
    )
