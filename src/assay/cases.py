"""A case from its claim to its report: values alone, known to every room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from assay.views import View


class Verdict(Enum):
    """What a report says. None of them says that an item is counterfeit: photographs cannot show that."""

    CONSISTENT = "CONSISTENT"  # with the genuine references of the claimed model
    INCONCLUSIVE = "INCONCLUSIVE"  # between the two thresholds: a person has to look
    NOT_CONSISTENT = "NOT CONSISTENT"
    NOT_SUPPORTED = "NOT SUPPORTED"  # no references of the claimed model, or photos unlike anything calibrated
    NEEDS_PHOTOS = "NEEDS PHOTOS"  # missing, unusable or of another view


class Lane(Enum):
    """Which queue a case waits in. Express cases are claimed first."""

    EXPRESS = "express"
    NORMAL = "normal"


class CaseState(Enum):
    """Where a case is. From QUEUED on it is accepted: it ends in exactly one report, or FAILED with a dead letter."""

    DRAFT = "draft"  # photos may be added
    QUEUED = "queued"
    REPORTED = "reported"
    FAILED = "failed"  # given up after repeated errors; an operator can queue it again
    ERASED = "erased"  # photos, maps and report are gone; the audit entries stay


@dataclass(frozen=True)
class Claim:
    """What the submitter says the item is."""

    brand: str
    model: str


class Fault(Enum):
    """What makes a photograph unusable, or doubtful."""

    TOO_SMALL = "too_small"
    BLURRED = "blurred"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    GLARE = "glare"
    SUBJECT_TOO_SMALL = "subject_too_small"  # it fills too little of the picture
    WRONG_VIEW = "wrong_view"
    DUPLICATE_IN_CASE = "duplicate_in_case"  # one picture given for two views
    REUSED = "reused"  # the same picture came with an earlier case


@dataclass(frozen=True)
class Finding:
    """One thing found about a photograph: what was measured, what was asked for, and what to do.

    ``is_blocking`` findings lead to NEEDS PHOTOS; the others are noted in the report.
    """

    fault: Fault
    measured: float
    limit: float
    advice: str  # to the person with the camera: "Move closer until the stamp fills half of the picture."
    is_blocking: bool = True


@dataclass(frozen=True)
class Photo:
    """A photograph as it was received. The original's bytes lie in the blob store under ``sha256``."""

    view: View
    sha256: str
    size_bytes: int
    media_type: str
    width: int  # pixels, upright
    height: int
    perceptual_hash: int  # 64 bits; near-equal pictures differ in few of them
    measures: Mapping[str, float]  # of the quality gate: sharpness, brightness, glare, fill
    findings: tuple[Finding, ...]
    received_at: datetime


@dataclass(frozen=True)
class Case:
    """One item to judge, of one tenant."""

    id: str
    tenant_id: str
    claim: Claim
    lane: Lane
    state: CaseState
    created_at: datetime
    submitted_at: datetime | None = None
    customer_reference: str = ""  # the tenant's own name for it
    photos: Mapping[View, Photo] = field(default_factory=dict[View, Photo])
    report_id: str = ""  # '' until REPORTED
    verdict: Verdict | None = None  # None until REPORTED; the report's until a review decides otherwise
    failure: str = ""  # why it is FAILED


@dataclass(frozen=True)
class Tenant:
    """One customer. Nothing of a tenant's is seen by another."""

    id: str
    name: str
    retention_days: int = 365  # photos and reports are erased after
    webhook_url: str = ""
    created_at: datetime | None = None


class Scope(Enum):
    """What a key allows."""

    SUBMIT = "submit"  # make cases, read one's own tenant's
    REVIEW = "review"  # give opinions, override
    ADMIN = "admin"  # keys, retention, webhooks, erasure of the tenant
    OPERATE = "operate"  # all tenants: tenants, references, dead letters, metrics
    MEASURE = "measure"  # metrics alone: what Prometheus comes with


OF_OPERATORS = frozenset({Scope.OPERATE, Scope.MEASURE})  # they look beyond a tenant: none of its own people gives them


@dataclass(frozen=True)
class Caller:
    """Who asks, as a key says."""

    tenant_id: str
    key_id: str
    name: str  # of the key: "Ana, reviewer"
    scopes: frozenset[Scope]
