"""Cases and photographs as rows, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, select

from assay.cases import Case, Claim, Fault, Finding, Photo
from assay.errors import Refusal, not_found
from assay.store.identifiers import is_id
from assay.store.tables import BANDS, cases, photos
from assay.views import View


def case_row(connection: Connection, case_id: str, tenant_id: str | None = None, is_locked: bool = False) -> Any:
    """The case's row, locked until the transaction ends if asked. ``tenant_id`` None: of whichever tenant.
    Raises Refusal NOT_FOUND, in the same words for a case of another tenant."""
    if not is_id(case_id) or not (tenant_id is None or is_id(tenant_id)):
        raise no_case(case_id)
    query = select(cases).where(cases.c.id == case_id)
    if tenant_id is not None:
        query = query.where(cases.c.tenant_id == tenant_id)
    row = connection.execute(query.with_for_update() if is_locked else query).one_or_none()
    if row is None:
        raise no_case(case_id)
    return row


def no_case(case_id: str) -> Refusal:
    return not_found(f"there is no case {case_id[:64]!r}")


def read_case(connection: Connection, case_id: str, tenant_id: str | None = None) -> Case:
    """Raises Refusal NOT_FOUND."""
    return as_cases(connection, [case_row(connection, case_id, tenant_id)])[0]


def as_cases(connection: Connection, rows: Iterable[Any]) -> list[Case]:
    """With their photographs, in the rows' order."""
    rows = list(rows)
    shown: dict[str, dict[View, Photo]] = {row.id: {} for row in rows}
    for row in connection.execute(select(photos).where(photos.c.case_id.in_(list(shown)))):
        shown[row.case_id][row.view] = _photo(row)
    return [_case(row, {view: shown[row.id][view] for view in View if view in shown[row.id]}) for row in rows]


def _case(row: Any, its_photos: Mapping[View, Photo]) -> Case:
    return Case(
        id=row.id,
        tenant_id=row.tenant_id,
        claim=Claim(row.brand, row.model),
        lane=row.lane,
        state=row.state,
        created_at=row.created_at,
        submitted_at=row.submitted_at,
        customer_reference=row.customer_reference,
        photos=its_photos,
        report_id=row.report_id,
        verdict=row.verdict,
        failure=row.failure,
    )


def photo_values(photo: Photo, picture_sha256: str) -> dict[str, Any]:
    """The columns of a photograph."""
    return {
        "view": photo.view,
        "sha256": photo.sha256,
        "picture_sha256": picture_sha256,
        "size_bytes": photo.size_bytes,
        "media_type": photo.media_type,
        "width": photo.width,
        "height": photo.height,
        "perceptual_hash": photo.perceptual_hash,
        **{f"band_{i}": band for i, band in enumerate(bands(photo.perceptual_hash))},
        "measures": dict(photo.measures),
        "findings": [_finding_values(finding) for finding in photo.findings],
        "received_at": photo.received_at,
    }


def bands(bits: int) -> tuple[int, ...]:
    """A 64-bit hash in pieces of 16 bits."""
    return tuple(bits >> 16 * i & 0xFFFF for i in range(BANDS))


def _photo(row: Any) -> Photo:
    return Photo(
        view=row.view,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        media_type=row.media_type,
        width=row.width,
        height=row.height,
        perceptual_hash=row.perceptual_hash,
        measures=row.measures,
        findings=tuple(_finding(values) for values in row.findings),
        received_at=row.received_at,
    )


def _finding_values(finding: Finding) -> dict[str, Any]:
    return {
        "fault": finding.fault.value,
        "measured": finding.measured,
        "limit": finding.limit,
        "advice": finding.advice,
        "is_blocking": finding.is_blocking,
    }


def _finding(values: Mapping[str, Any]) -> Finding:
    return Finding(Fault(values["fault"]), values["measured"], values["limit"], values["advice"], values["is_blocking"])
