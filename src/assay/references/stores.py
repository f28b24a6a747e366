"""Which store of references an installation has."""

from __future__ import annotations

from assay.errors import invalid
from assay.references.files import FileReferences
from assay.references.snapshot import ReferenceStore
from assay.settings import Settings


def open_references(settings: Settings) -> ReferenceStore:
    """In ``home``, or in the store's PostgreSQL. Raises Refusal INVALID for settings that do not fit together."""
    if settings.references == "files":
        return FileReferences(settings.home / "references")
    if settings.references != "pgvector":
        raise invalid(f"setting references is {settings.references!r}; expected files or pgvector")
    if not settings.store_url.startswith("postgresql"):
        raise invalid(
            f"setting references is pgvector, but store_url is {settings.store_url!r}; expected "
            "postgresql+psycopg://user:password@host/database"
        )
    from assay.references.pgvector import PgVectorReferences  # needs the extra assay-scale

    return PgVectorReferences(settings.store_url)
