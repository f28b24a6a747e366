"""A repository that needs no compiler, for all tests here."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.security.assembled import write_repository


@pytest.fixture(scope="package")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_repository(tmp_path_factory.mktemp("repository"))
