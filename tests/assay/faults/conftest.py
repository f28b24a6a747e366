"""A template of an installation, made once for all tests of faults."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.assay.faults.installation import Template, prepared


@pytest.fixture(scope="session")
def template(packed_engines: Path, tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Four items enrolled, and two to submit."""
    return prepared(tmp_path_factory.mktemp("faults") / "template", packed_engines, references=4, cases=2)
