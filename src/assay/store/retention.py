"""Erasure: when a tenant asks for it, and when the time is over that the tenant agreed to."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, exists, select, update

from assay.cases import CaseState
from assay.store.audit import append
from assay.store.blobs import forget, remove_unused
from assay.store.foundation import SYSTEM, Foundation
from assay.store.rows import case_row
from assay.store.tables import (
    blob_uses,
    cases,
    deliveries,
    opinions,
    outbox,
    photos,
    reports,
    reviews,
    stages,
    tenants,
)

_PAGE = 100


class Retention:
    """What goes, and when."""

    def __init__(self, foundation: Foundation) -> None:
        self._database = foundation.database
        self._blobs = foundation.blobs
        self._clock = foundation.clock
        self._news = foundation.news

    def erase(self, tenant_id: str, case_id: str, actor: str) -> None:
        """Remove the case's photographs, pictures, maps, report, notes and references. What stays: that there was a
        case of this brand and model, the report's id, digest and verdict, and the audit entries, which hold nothing
        personal. Content that another case of the tenant uses stays for that case. Again: no change.

        A case in any state can be erased; one that is being judged gets no report. Raises Refusal NOT_FOUND.
        """
        with self._database.writing() as connection:
            row = case_row(connection, case_id, tenant_id, is_locked=True)
            if row.state is not CaseState.ERASED:
                self._erase_rows(connection, row, actor)
        self._news.tell(case_id)
        self._erase_blobs(tenant_id, case_id)

    def _erase_rows(self, connection: Connection, row: Any, actor: str) -> None:
        for table in (photos, stages, outbox, deliveries, opinions, reviews):
            connection.execute(delete(table).where(table.c.case_id == row.id))
        connection.execute(update(reports).where(reports.c.case_id == row.id).values(document=None))
        gone = {"state": CaseState.ERASED, "customer_reference": "", "failure": "", "idempotency_key": None}
        connection.execute(update(cases).where(cases.c.id == row.id).values(**gone))
        append(connection, self._clock(), row.tenant_id, actor, "case.erased", row.id)

    def _erase_blobs(self, tenant_id: str, case_id: str) -> None:
        """Of a case that is erased: a crash here leaves its uses, by which the next sweep finds it."""
        with self._database.writing() as connection:
            remove_unused(connection, self._blobs, tenant_id, forget(connection, case_id))

    def expire(self, now: datetime) -> int:
        """Erase the cases that are older than their tenant keeps them; how many they were."""
        count = 0
        with self._database.reading() as connection:
            kept = list(connection.execute(select(tenants.c.id, tenants.c.retention_days)))
        for tenant_id, days in kept:
            while due := self._older(tenant_id, now - timedelta(days=days)):
                for case_id in due:
                    self.erase(tenant_id, case_id, SYSTEM)
                count += len(due)
        return count

    def sweep_orphans(self, older_than: datetime) -> int:
        """Remove blobs that were put before ``older_than`` and that no case uses: uploads whose case was never
        written. How many they were. An hour is ample; younger ones may be about to be named. Erasures that a crash
        interrupted are completed first."""
        for tenant_id, case_id in self._half_erased():
            self._erase_blobs(tenant_id, case_id)
        count = 0
        for blob in self._blobs.written_before(older_than):
            with self._database.writing() as connection:
                count += remove_unused(connection, self._blobs, blob.tenant_id, [blob.sha256])
        return count

    def _half_erased(self) -> list[tuple[str, str]]:
        """Tenant and case."""
        query = select(cases.c.tenant_id, cases.c.id).where(cases.c.state == CaseState.ERASED)
        left = query.where(exists().where(blob_uses.c.case_id == cases.c.id))
        with self._database.reading() as connection:
            return [(row.tenant_id, row.id) for row in connection.execute(left)]

    def _older(self, tenant_id: str, moment: datetime) -> list[str]:
        """Some of the tenant's cases made before ``moment``, oldest first."""
        mine = (cases.c.tenant_id == tenant_id) & (cases.c.state != CaseState.ERASED) & (cases.c.created_at < moment)
        query = select(cases.c.id).where(mine).order_by(cases.c.created_at).limit(_PAGE)
        with self._database.reading() as connection:
            return list(connection.scalars(query))
