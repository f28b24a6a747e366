"""The queues that the contract is asked of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.assay.queue.rigs import MemoryRig, Rig, SqliteRig


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["memory", "sqlite"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    rig: Rig = MemoryRig() if request.param == "memory" else SqliteRig(tmp_path / "queue.sqlite")
    yield rig
    await rig.close()
