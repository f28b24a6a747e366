"""Which queue an installation has: its settings say."""

from __future__ import annotations

from urllib.parse import urlsplit

from assay.errors import invalid
from assay.queue.jobs import JobQueue
from assay.queue.memory import MemoryQueue
from assay.queue.sqlite import SqliteQueue
from assay.settings import Settings


def open_queue(settings: Settings) -> JobQueue:
    """The queue of ``settings.queue_url``, still to be opened. Raises Refusal INVALID."""
    match urlsplit(settings.queue_url).scheme:
        case "" if not settings.queue_url:
            return SqliteQueue(settings.home / "queue.sqlite")
        case "memory":
            return MemoryQueue()
        case _:
            raise invalid(
                f"setting queue_url is {settings.queue_url!r}; expected '', memory:, amqp://... or kafka://..."
            )
