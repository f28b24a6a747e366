"""Every test of the store runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.assay.servers_postgres import PostgresServer, why_no_postgres
from tests.assay.store.making import Bench, HandClock

from assay.settings import Settings


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    if why_no_postgres():
        pytest.skip(why_no_postgres())
    with PostgresServer() as server:
        yield server


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Of an installation with an empty database."""
    sqlite = Settings(tmp_path / "home")
    if request.param == "sqlite":
        return sqlite
    return replace(sqlite, store_url=request.getfixturevalue("postgres").new_database())


@pytest.fixture
def bench(settings: Settings, clock: HandClock) -> Iterator[Bench]:
    bench = Bench(settings, clock)
    yield bench
    bench.store.close()
