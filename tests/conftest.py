"""What all tests share."""

from __future__ import annotations

import pytest

from fusee.runtime import cpu


@pytest.fixture(autouse=True)
def workers_take_part(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tensors of tests are small: by themselves they would leave the workers asleep and their share untested."""
    if "runs_alone" not in request.keywords:
        monkeypatch.setattr(cpu, "ALONE_US", 0.0)
