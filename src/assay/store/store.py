"""The store as a whole."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import text

from assay.errors import invalid
from assay.settings import Settings
from assay.store.audit import Audit
from assay.store.blobs import BlobStore, DatabaseBlobs, FolderBlobs
from assay.store.cases import Cases
from assay.store.database import Database
from assay.store.foundation import Foundation
from assay.store.outbox import Outbox
from assay.store.reports import Reports
from assay.store.retention import Retention
from assay.store.reviews import Reviews
from assay.store.schema import create_tables
from assay.store.tenants import Tenants
from assay.store.webhooks import Webhooks


class Store:
    """All that an installation keeps, in SQLite or PostgreSQL. Thread-safe; any number of processes share one.

    Whatever cannot reach the database, or the blobs, raises Refusal UNAVAILABLE; the next call connects again.
    """

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        """Makes the tables where they are missing. ``clock`` tells aware times.

        Raises Refusal INVALID for settings it cannot follow and for a database that a newer Assay made, UNAVAILABLE.
        """
        self._database = Database(settings.database_url)
        create_tables(self._database)
        foundation = Foundation(self._database, _blobs(settings, self._database, clock), clock, settings.most_waiting)
        self.blobs = foundation.blobs
        self.news = foundation.news
        self.audit = Audit(self._database, clock)
        self.tenants = Tenants(foundation)
        self.cases = Cases(foundation)
        self.reports = Reports(self._database)
        self.outbox = Outbox(self._database, clock)
        self.reviews = Reviews(foundation)
        self.webhooks = Webhooks(self._database, clock)
        self.retention = Retention(foundation)

    def check(self) -> None:
        """Raises Refusal UNAVAILABLE when the database does not answer."""
        with self._database.reading() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Give the connections back. A later call would make them again."""
        self._database.close()


def _blobs(settings: Settings, database: Database, clock: Callable[[], datetime]) -> BlobStore:
    if settings.blobs == "folder":
        return FolderBlobs(settings.home / "blobs")
    if settings.blobs == "database":
        return DatabaseBlobs(database, clock)
    raise invalid(f"setting blobs is {settings.blobs!r}; expected 'folder' or 'database'")
