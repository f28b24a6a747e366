"""Reports as they were issued: bytes that nothing changes, until they are erased."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from assay.cases import Verdict
from assay.errors import not_found
from assay.store.database import Database
from assay.store.identifiers import is_id
from assay.store.rows import case_row
from assay.store.tables import cases, reports


@dataclass(frozen=True)
class StoredReport:
    """A report of the tenant's own."""

    id: str
    case_id: str
    content: bytes
    digest: str  # SHA-256 of the content
    verdict: Verdict  # of the report; a review may have decided otherwise since
    created_at: datetime


@dataclass(frozen=True)
class PublicReport:
    """What anyone may know who holds a report's id."""

    id: str
    digest: str  # SHA-256 of the report's bytes
    verdict: Verdict  # of the report
    present_verdict: Verdict  # after reviews
    created_at: datetime
    is_erased: bool  # its bytes are gone; what was printed can still be checked


class Reports:
    """Reading reports. They are written by ``Cases.finish``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, tenant_id: str, case_id: str) -> StoredReport:
        """Raises Refusal NOT_FOUND: no such case of this tenant, or it has no report (yet, or any more)."""
        with self._database.reading() as connection:
            case_row(connection, case_id, tenant_id)
            row = connection.execute(select(reports).where(reports.c.case_id == case_id)).one_or_none()
        if row is None or row.document is None:
            raise not_found(f"case {case_id} has no report{' any more' if row else ' yet'}")
        return StoredReport(row.id, case_id, row.document, row.digest, row.verdict, row.created_at)

    def by_id(self, report_id: str) -> PublicReport:
        """For whoever was shown a report, of whichever tenant. Raises Refusal NOT_FOUND."""
        query = select(reports, cases.c.verdict.label("present")).join(cases, cases.c.id == reports.c.case_id)
        row = None
        if is_id(report_id):
            with self._database.reading() as connection:
                row = connection.execute(query.where(reports.c.id == report_id)).one_or_none()
        if row is None:
            raise not_found(f"there is no report {report_id[:64]!r}")
        is_erased = row.document is None
        return PublicReport(row.id, row.digest, row.verdict, row.present or row.verdict, row.created_at, is_erased)

    def issued(self, report_id: str) -> bytes:
        """The report's bytes, of whichever tenant, to be verified; whoever asks for another's shows none of it.
        Raises Refusal NOT_FOUND: there is no such report, or it was erased."""
        content = None
        if is_id(report_id):
            with self._database.reading() as connection:
                content = connection.scalar(select(reports.c.document).where(reports.c.id == report_id))
        if content is None:
            raise not_found(f"there is no report {report_id[:64]!r}")
        return content
