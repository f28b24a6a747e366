"""The web that tests ask."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import httpx
import pytest
from tests.assay.web.house import House, build


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def house(tmp_path: Path) -> Generator[House]:
    house = build(tmp_path)
    yield house
    house.store.close()


@pytest.fixture(scope="module")
def lasting_house(tmp_path_factory: pytest.TempPathFactory) -> Generator[House]:
    """For tests that leave nothing behind which another would mind."""
    house = build(tmp_path_factory.mktemp("home"))
    yield house
    house.store.close()


@pytest.fixture
async def client(house: House) -> AsyncGenerator[httpx.AsyncClient]:
    """With all scopes."""
    async with house.client() as client:
        yield client
