"""What must not be lost: tenants, cases, reports, photographs, the audit log. One schema in SQLite and PostgreSQL."""

from assay.store.photographs import Given
from assay.store.store import Store

__all__ = ["Given", "Store"]
