"""The queues that the contract is asked of."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from uuid import uuid4

import pytest
from tests.assay.queue.rigs import MemoryRig, RabbitRig, Rig, SqliteRig
from tests.assay.servers import RabbitServer, why_no_rabbitmq


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


@pytest.fixture(params=["memory", "sqlite", "rabbitmq"])
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
        case _:
            return RabbitRig(request.getfixturevalue("rabbit").url, uuid4().hex)
