from __future__ import annotations

from collections.abc import Iterator

import pytest

from fusee.base.target import detect_cpu
from fusee.kernels.cpu.compile import Compiler


@pytest.fixture(scope="session")
def compiler() -> Iterator[Compiler]:
    """One compiler for all engines of these tests."""
    with Compiler(detect_cpu(), 1) as made:
        yield made
