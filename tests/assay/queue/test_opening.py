"""Which queue the settings choose."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from assay.errors import Reason, Refusal
from assay.queue import open_queue
from assay.queue.kafka import KafkaQueue
from assay.queue.memory import MemoryQueue
from assay.queue.rabbitmq import RabbitQueue
from assay.queue.sqlite import SqliteQueue
from assay.settings import Settings


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("", SqliteQueue),
        ("memory:", MemoryQueue),
        ("amqp://guest:guest@localhost/", RabbitQueue),
        ("amqps://guest:guest@localhost/", RabbitQueue),
        ("kafka://localhost:9092", KafkaQueue),
    ],
)
def test_the_url_says_which(tmp_path: Path, url: str, kind: type) -> None:
    assert isinstance(open_queue(Settings(tmp_path, queue_url=url)), kind)
    assert list(tmp_path.iterdir()) == []  # nothing is opened yet


@pytest.mark.parametrize("url", ["redis://user:secret@localhost", "queue.sqlite"])
def test_another_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(Refusal, match=r"queue_url begins with '(redis:|queue.sqlite)'; expected '' ") as refused:
        open_queue(Settings(tmp_path, queue_url=url))

    assert refused.value.reason is Reason.INVALID


def test_a_port_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"setting queue_url: Port could not be cast .*; expected an URL as ''"):
        open_queue(Settings(tmp_path, queue_url="amqp://localhost:many/"))


@pytest.mark.parametrize(
    ("url", "room", "package"),
    [("amqp://localhost", "rabbitmq", "aio_pika"), ("kafka://localhost", "kafka", "aiokafka")],
)
def test_a_missing_client_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, room: str, package: str
) -> None:
    monkeypatch.delitem(sys.modules, f"assay.queue.{room}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(Refusal, match=rf"needs the package {package}: pip install 'fusee\[assay-scale\]'"):
        open_queue(Settings(tmp_path, queue_url=url))
