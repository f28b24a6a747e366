"""References in PostgreSQL: without the extension, and when the database is away."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.assay.ports import free_port
from benchmarks.assay.postgres import PROGRAMS, PostgresServer, why_no_postgres
from tests.assay.references.conftest import programs_with_pgvector
from tests.assay.references.making import AURELLE, a_snapshot, assert_equal_snapshots

from assay.errors import Reason, Refusal
from assay.references import open_references
from assay.references.pgvector import PgVectorReferences
from assay.settings import Settings


def test_a_database_without_the_extension() -> None:
    reason = why_no_postgres() or ("Debian's PostgreSQL has pgvector" if programs_with_pgvector() == PROGRAMS else "")
    if reason:
        pytest.skip(reason)
    with PostgresServer() as server:
        store = PgVectorReferences(server.new_database())
        with pytest.raises(Refusal, match="has no extension 'vector'; install pgvector") as refused:
            store.models()
        store.close()
    assert refused.value.reason is Reason.UNAVAILABLE


def test_a_database_that_is_not_there_and_a_password_that_is_not_told() -> None:
    store = PgVectorReferences(f"postgresql+psycopg://assay:secret@127.0.0.1:{free_port()}/assay")
    with pytest.raises(Refusal, match=r"assay:\*\*\*@127\.0\.0\.1") as refused:
        store.latest(AURELLE)
    assert refused.value.reason is Reason.UNAVAILABLE
    assert "secret" not in refused.value.message


def test_a_lost_connection_is_made_again(vector_server: PostgresServer) -> None:
    store, snapshot = PgVectorReferences(vector_server.new_database()), a_snapshot()
    store.add(snapshot, {})
    vector_server.kill()
    with pytest.raises(Refusal) as refused:
        store.models()
    assert refused.value.reason is Reason.UNAVAILABLE
    vector_server.restart()
    assert_equal_snapshots(store.latest(AURELLE), snapshot)
    store.close()


def test_settings_choose_it(vector_server: PostgresServer, tmp_path: Path) -> None:
    settings = Settings(tmp_path, store_url=vector_server.new_database(), references="pgvector")
    store = open_references(settings)
    assert isinstance(store, PgVectorReferences)
    assert store.models() == []
    store.close()
    assert list(tmp_path.iterdir()) == []
