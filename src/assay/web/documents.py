"""Values of the domain as the JSON that the API gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from assay.cases import Case, CaseState, Finding, Photo, Tenant
from assay.views import VIEWS, View
from assay.web.call import Json


def time_text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def finding_document(finding: Finding) -> Json:
    return {
        "fault": finding.fault.value,
        "measured": finding.measured,
        "limit": finding.limit,
        "advice": finding.advice,
        "is_blocking": finding.is_blocking,
    }


def photo_document(photo: Photo, found_besides: Sequence[Finding] = ()) -> Json:
    """``found_besides``: what was found by looking at more than the photo itself."""
    findings = (*photo.findings, *found_besides)
    return {
        "view": photo.view.value,
        "sha256": photo.sha256,
        "size_bytes": photo.size_bytes,
        "media_type": photo.media_type,
        "width": photo.width,
        "height": photo.height,
        "measures": dict(photo.measures),
        "findings": [finding_document(finding) for finding in findings],
        "is_usable": not any(finding.is_blocking for finding in findings),
        "received_at": time_text(photo.received_at),
    }


def case_document(case: Case, found_besides: Mapping[View, Sequence[Finding]] | None = None) -> Json:
    besides = found_besides or {}
    return {
        "id": case.id,
        "claim": {"brand": case.claim.brand, "model": case.claim.model},
        "lane": case.lane.value,
        "state": case.state.value,
        "customer_reference": case.customer_reference,
        "created_at": time_text(case.created_at),
        "submitted_at": time_text(case.submitted_at),
        "photos": [photo_document(case.photos[v], besides.get(v, ())) for v in VIEWS if v in case.photos],
        "missing": [v.value for v in VIEWS if v not in case.photos] if case.state is CaseState.DRAFT else [],
        "report_id": case.report_id or None,
        "verdict": case.verdict.value if case.verdict else None,
        "failure": case.failure or None,
    }


def tenant_document(tenant: Tenant) -> Json:
    return {
        "id": tenant.id,
        "name": tenant.name,
        "retention_days": tenant.retention_days,
        "webhook_url": tenant.webhook_url,
        "created_at": time_text(tenant.created_at),
    }
