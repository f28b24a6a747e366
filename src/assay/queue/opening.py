"""Which queue an installation has: its settings say."""

from __future__ import annotations

from urllib.parse import urlsplit

from assay.errors import Refusal, invalid
from assay.queue.jobs import JobQueue
from assay.queue.memory import MemoryQueue
from assay.queue.sqlite import SqliteQueue
from assay.settings import Settings

EXPECTED = "'' (SQLite in home), memory:, amqp://user:password@host:port/vhost or kafka://host:port"


def open_queue(settings: Settings) -> JobQueue:
    """The queue of ``settings.queue_url``, still to be opened. Raises Refusal INVALID."""
    try:
        return _queue(settings, urlsplit(settings.queue_url).scheme)
    except ValueError as err:
        raise invalid(f"setting queue_url: {err}; expected an URL as {EXPECTED}") from err


def _queue(settings: Settings, scheme: str) -> JobQueue:
    match scheme:
        case "" if not settings.queue_url:
            return SqliteQueue(settings.home / "queue.sqlite")
        case "memory":
            return MemoryQueue()
        case "amqp" | "amqps":
            return _rabbitmq(settings.queue_url)
        case "kafka":
            return _kafka(settings.queue_url)
        case _:
            kind = settings.queue_url.partition("//")[0]  # what follows may hold a password
            raise invalid(f"setting queue_url begins with {kind!r}; expected {EXPECTED}")


def _rabbitmq(url: str) -> JobQueue:
    try:
        from assay.queue.rabbitmq import RabbitQueue
    except ModuleNotFoundError as err:
        raise _needs_extra("RabbitMQ", err) from err
    return RabbitQueue(url)


def _kafka(url: str) -> JobQueue:
    try:
        from assay.queue.kafka import KafkaQueue
    except ModuleNotFoundError as err:
        raise _needs_extra("Kafka", err) from err
    return KafkaQueue(url)


def _needs_extra(broker: str, err: ModuleNotFoundError) -> Refusal:
    return invalid(f"setting queue_url: {broker} needs the package {err.name}: pip install 'fusee[assay-scale]'")
