"""What the rooms of Assay share in tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.networks.untrained import write_untrained
from assay.packing import pack


@pytest.fixture(scope="session")
def packed_engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both engines, of networks that nobody trained."""
    home = tmp_path_factory.mktemp("untrained")
    write_untrained(home / "models", seed=11)
    pack(home / "models", home / "engines")
    return home / "engines"


@pytest.fixture(scope="session")
def trained_engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both engines, of the trained networks in models/assay."""
    engines = tmp_path_factory.mktemp("trained") / "engines"
    pack(Path(__file__).parents[2] / "models/assay", engines)
    return engines
