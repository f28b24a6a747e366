"""Jobs that were accepted with their case and have yet to reach the queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import select, update

from assay.queue.jobs import Job
from assay.store.database import Database
from assay.store.tables import outbox


class Outbox:
    """The other end of the transaction that queues a case. A row goes when its case ends."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def pending(self, most: int) -> list[Job]:
        """Jobs that were never published, oldest first. Publish them, then call ``published``: a crash between the
        two has them published twice, which is harmless."""
        query = select(outbox).where(outbox.c.published_at.is_(None)).order_by(outbox.c.created_at, outbox.c.id)
        with self._database.reading() as connection:
            rows = connection.execute(query.limit(most))
            return [Job(row.id, row.case_id, row.lane, row.traceparent) for row in rows]

    def published(self, job_ids: Sequence[str]) -> None:
        """The queue has them. Forgotten at the end of the machine, they are published again, which is harmless."""
        with self._database.writing(is_durable=False) as connection:
            these = outbox.c.id.in_(list(job_ids))
            connection.execute(update(outbox).where(these).values(published_at=self._clock()))

    def stale(self, older_than_s: float, most: int = 100) -> list[Job]:
        """Jobs of cases that are QUEUED still, ``older_than_s`` after they were last published: a queue may have lost
        them. Publish them again. They count as published now, so the next call does not return them."""
        now = self._clock()
        old = outbox.c.published_at < now - timedelta(seconds=older_than_s)
        query = select(outbox).where(old).order_by(outbox.c.published_at, outbox.c.id).limit(most)
        with self._database.reading() as connection:
            jobs = [Job(row.id, row.case_id, row.lane, row.traceparent) for row in connection.execute(query)]
        if jobs:
            self.published([job.id for job in jobs])
        return jobs
