"""The queues that the contract is asked of."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from uuid import uuid4

import pytest
from benchmarks.assay.rabbitmq import RabbitServer, why_no_rabbitmq
from tests.assay.queue.kafka_mock import KafkaMock, librdkafka
from tests.assay.queue.rigs import KafkaRig, MemoryRig, RabbitRig, Rig, SqliteRig


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Generator[RabbitServer]:
    """One for all tests: each has queues of its own name."""
    if why := why_no_rabbitmq():
        pytest.skip(why)
    with RabbitServer(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server


@pytest.fixture(scope="session")
def kafka_mock() -> Generator[KafkaMock]:
    library = librdkafka()
    if library is None:
        pytest.skip("no librdkafka for its mock cluster: pip install confluent-kafka; or set KAFKA_BOOTSTRAP=host:port")
    with KafkaMock(library) as mock:
        yield mock


@pytest.fixture
def kafka_url(request: pytest.FixtureRequest) -> str:
    """One partition each: what is published in order is read in order."""
    prefix = uuid4().hex
    if servers := os.environ.get("KAFKA_BOOTSTRAP"):
        return f"kafka://{servers}/{prefix}?partitions=1"
    mock: KafkaMock = request.getfixturevalue("kafka_mock")
    for topic in ("express", "express-retry", "normal", "normal-retry", "dead"):
        mock.make(f"{prefix}-{topic}", 1)
    return f"kafka://{mock.servers}/{prefix}?partitions=0&session_s=1"


@pytest.fixture(params=["memory", "sqlite", "rabbitmq", "kafka"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Rig]:
    rig = _rig(request, tmp_path)
    yield rig
    await rig.close()


def _rig(request: pytest.FixtureRequest, folder: Path) -> Rig:
    match request.param:
        case "memory":
            return MemoryRig()
        case "sqlite":
            return SqliteRig(folder / "queue.sqlite")
        case "kafka":
            return KafkaRig(request.getfixturevalue("kafka_url"))
        case _:
            return RabbitRig(request.getfixturevalue("rabbit").url, uuid4().hex)
