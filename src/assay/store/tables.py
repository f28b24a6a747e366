"""The tables, the same in SQLite and PostgreSQL."""

from __future__ import annotations

import enum
from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Enum,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

from assay.cases import CaseState, Lane, Verdict
from assay.views import View

SCHEMA_VERSION = 1


class Moment(TypeDecorator[datetime]):
    """A time in UTC, to the microsecond. It is kept without its zone, because SQLite has none."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        assert value.tzinfo is not None, f"{value!r} has no time zone"
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.replace(tzinfo=UTC)


class Bits64(TypeDecorator[int]):
    """64 bits. The databases have signed integers only, so the highest bit is kept as the sign."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:
        return value if value is None or value < 1 << 63 else value - (1 << 64)

    def process_result_value(self, value: int | None, dialect: Dialect) -> int | None:
        return value if value is None else value & ((1 << 64) - 1)


def _word(of: type[enum.Enum]) -> Enum:
    """A member of ``of``, kept as the text of its value."""
    return Enum(of, native_enum=False, length=32, values_callable=lambda members: [m.value for m in members])


def _id() -> String:
    return String(64)


metadata = MetaData()

schema_version = Table(
    "schema_version",
    metadata,
    Column("only", Integer, primary_key=True, autoincrement=False),  # 1: there is one row
    Column("version", Integer, nullable=False),
)

tenants = Table(
    "tenants",
    metadata,
    Column("id", _id(), primary_key=True),
    Column("name", Text, nullable=False),
    Column("retention_days", Integer, nullable=False),
    Column("webhook_url", Text, nullable=False),
    Column("webhook_secret", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", _id(), primary_key=True),
    Column("tenant_id", ForeignKey("tenants.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("secret_sha256", String(64), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("revoked_at", Moment),
)

cases = Table(
    "cases",
    metadata,
    Column("id", _id(), primary_key=True),
    Column("tenant_id", ForeignKey("tenants.id"), nullable=False),
    Column("brand", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("lane", _word(Lane), nullable=False),
    Column("state", _word(CaseState), nullable=False),
    Column("customer_reference", Text, nullable=False),
    Column("idempotency_key", Text),  # NULL: none given
    Column("created_at", Moment, nullable=False),
    Column("submitted_at", Moment),
    Column("report_id", _id(), nullable=False),
    Column("verdict", _word(Verdict)),  # the report's until a review decides
    Column("failure", Text, nullable=False),
    UniqueConstraint("tenant_id", "idempotency_key"),
    Index("cases_by_time", "tenant_id", "created_at", "id"),
    Index("cases_by_state", "state", "verdict"),
)

BANDS = 4  # of 16 bits: two hashes that differ in few bits have a band in which they differ in fewer

photos = Table(
    "photos",
    metadata,
    Column("case_id", ForeignKey("cases.id"), primary_key=True),
    Column("view", _word(View), primary_key=True),
    Column("tenant_id", _id(), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("picture_sha256", String(64), nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("perceptual_hash", Bits64, nullable=False),
    *[Column(f"band_{i}", Integer, nullable=False) for i in range(BANDS)],
    Column("measures", JSON, nullable=False),
    Column("findings", JSON, nullable=False),
    Column("received_at", Moment, nullable=False),
    Index("photos_by_content", "tenant_id", "sha256"),
    *[Index(f"photos_by_band_{i}", "tenant_id", "view", f"band_{i}") for i in range(BANDS)],
)

stages = Table(
    "stages",
    metadata,
    Column("case_id", ForeignKey("cases.id"), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("ms", Float, nullable=False),
    Column("at", Moment, nullable=False),
)

reports = Table(
    "reports",
    metadata,
    Column("id", _id(), primary_key=True),
    Column("case_id", ForeignKey("cases.id"), nullable=False, unique=True),
    Column("tenant_id", _id(), nullable=False),
    Column("verdict", _word(Verdict), nullable=False),
    Column("score", Float),
    Column("digest", String(64), nullable=False),
    Column("document", LargeBinary),  # NULL once erased
    Column("created_at", Moment, nullable=False),
)

blobs = Table(
    "blobs",
    metadata,
    Column("tenant_id", _id(), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("written_at", Moment, nullable=False),
)

blob_uses = Table(
    "blob_uses",
    metadata,
    Column("case_id", ForeignKey("cases.id"), primary_key=True),
    Column("use", String(96), primary_key=True),  # original/logo, picture/logo, artefact/SHA-256
    Column("tenant_id", _id(), nullable=False),
    Column("sha256", String(64), nullable=False),
    Index("blob_uses_by_content", "tenant_id", "sha256"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", _id(), primary_key=True),  # of the job
    Column("case_id", ForeignKey("cases.id"), nullable=False, index=True),
    Column("lane", _word(Lane), nullable=False),
    Column("traceparent", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("published_at", Moment),  # the last time
    Index("outbox_by_publication", "published_at", "created_at"),
)

audit_heads = Table(
    "audit_heads",
    metadata,
    Column("tenant_id", ForeignKey("tenants.id"), primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
)

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("tenant_id", ForeignKey("tenants.id"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("details", Text, nullable=False),  # canonical JSON, as it was hashed
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("audit_entries_by_subject", "tenant_id", "subject"),
)

reviews = Table(
    "reviews",
    metadata,
    Column("case_id", ForeignKey("cases.id"), primary_key=True),
    Column("tenant_id", _id(), nullable=False),
    Column("risk", Float, nullable=False),
    Column("waiting_since", Moment, nullable=False),
    Column("claimed_by", Text, nullable=False),
    Column("claimed_until", Moment),
    Column("verdict", _word(Verdict)),  # NULL until decided
    Column("decided_at", Moment),
    Index("reviews_by_risk", "tenant_id", "decided_at", "risk"),
)

opinions = Table(
    "opinions",
    metadata,
    Column("case_id", ForeignKey("cases.id"), primary_key=True),
    Column("reviewer", String(200), primary_key=True),
    Column("ordinal", Integer, nullable=False),  # 1, 2 and, where these differ, 3
    Column("verdict", _word(Verdict), nullable=False),
    Column("note", Text, nullable=False),
    Column("at", Moment, nullable=False),
    UniqueConstraint("case_id", "ordinal"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", _id(), primary_key=True),
    Column("tenant_id", ForeignKey("tenants.id"), nullable=False),
    Column("case_id", ForeignKey("cases.id"), nullable=False, index=True),
    Column("event", Text, nullable=False),
    Column("body", Text, nullable=False),  # canonical JSON: what is signed
    Column("attempts", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("due_at", Moment, index=True),  # NULL: delivered, or given up
    Column("delivered_at", Moment),
    Column("failure", Text, nullable=False),
)
