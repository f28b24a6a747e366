"""Which queue an installation has: its settings say."""

from __future__ import annotations

from urllib.parse import urlsplit

from assay.errors import Refusal, invalid
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
        case "amqp" | "amqps":
            return _rabbitmq(settings.queue_url)
        case "kafka":
            return _kafka(settings.queue_url)
        case _:
            raise invalid(
                f"setting queue_url is {settings.queue_url!r}; expected '', memory:, amqp://... or kafka://..."
            )


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
