"""Every test of the store runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.assay.postgres import PostgresServer, why_no_postgres
from sqlalchemy import delete
from tests.assay.store.making import Bench, HandClock

from assay.settings import Settings
from assay.store.database import Database
from assay.store.schema import create_tables
from assay.store.tables import metadata, schema_version


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    if why_no_postgres():
        pytest.skip(why_no_postgres())
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres: PostgresServer) -> str:
    """One database for all tests: emptying it takes a fraction of the time of making another."""
    return postgres.new_database()


@pytest.fixture(autouse=True)
def no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests kill processes, not the machine: no file needs to reach the disk."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Of an installation with an empty database."""
    sqlite = Settings(tmp_path / "home")
    if request.param == "sqlite":
        return sqlite
    url = request.getfixturevalue("postgres_url")
    _empty(url)
    return replace(sqlite, store_url=url)


def _empty(url: str) -> None:
    database = Database(url)
    create_tables(database)
    with database.writing() as connection:
        for table in reversed(metadata.sorted_tables):
            if table is not schema_version:
                connection.execute(delete(table))
    database.close()


@pytest.fixture
def bench(settings: Settings, clock: HandClock) -> Iterator[Bench]:
    bench = Bench(settings, clock)
    yield bench
    bench.store.close()
