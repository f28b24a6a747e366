"""What every part of the store stands on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from assay.store.blobs import BlobStore
from assay.store.database import Database
from assay.store.news import News

SYSTEM = "system"  # the actor of what no key asked for


@dataclass(frozen=True)
class Foundation:
    """The database, the blobs, the time, and the one limit."""

    database: Database
    blobs: BlobStore
    clock: Callable[[], datetime]
    most_waiting: int  # cases QUEUED
    news: News = field(default_factory=News)
