from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine, create_engine, inspect, text
from tests.assay.store.making import Bench, HandClock
from tests.assay.store.racing import in_processes, open_anew

from assay.errors import Reason, Refusal
from assay.settings import Settings
from assay.store import Store
from assay.store.tables import SCHEMA_VERSION


def test_a_store_that_is_opened_again_holds_what_it_held(bench: Bench) -> None:
    case = bench.reported()
    bench.store.close()
    again = Store(bench.settings, bench.clock)
    assert again.cases.get(bench.tenant.id, case.id) == case
    again.close()


def test_a_newer_schema_is_refused_and_left_alone(bench: Bench) -> None:
    bench.store.close()
    engine = create_engine(bench.settings.database_url)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE schema_version SET version = {SCHEMA_VERSION + 1}"))
        connection.execute(text("DROP TABLE stages"))
    try:
        with pytest.raises(Refusal, match=f"has schema version {SCHEMA_VERSION + 1}, this Assay knows") as caught:
            Store(bench.settings, bench.clock)
        assert caught.value.reason is Reason.INVALID
        assert "stages" not in inspect(engine).get_table_names()
    finally:
        _put_back(engine)


def _put_back(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE schema_version SET version = {SCHEMA_VERSION}"))
    engine.dispose()


@pytest.fixture
def without_tables(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    if not settings.store_url:
        return settings
    return replace(settings, store_url=request.getfixturevalue("postgres").new_database())


def test_processes_that_open_an_empty_database_at_once(without_tables: Settings, clock: HandClock) -> None:
    made = in_processes(4, open_anew, without_tables)
    store = Store(without_tables, clock)
    assert {tenant.id for tenant in store.tenants.all()} == set(made)
    store.close()


@pytest.mark.parametrize("url", ["mysql://host/db", "sqlite://", "sqlite:///:memory:", "no url"])
def test_another_database_is_refused(settings: Settings, clock: HandClock, url: str) -> None:
    with pytest.raises(Refusal, match="expected sqlite:///FILE or postgresql") as caught:
        Store(replace(settings, store_url=url), clock)
    assert caught.value.reason is Reason.INVALID
