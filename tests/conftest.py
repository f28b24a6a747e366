"""What all tests share."""

from __future__ import annotations

import pytest
from hypothesis import settings

from fusee.runtime import cpu

# The same examples in every run, however slow the machine is: a run that fails can be run again.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def workers_take_part(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tensors of tests are small: by themselves they would leave the workers asleep and their share untested."""
    if "runs_alone" not in request.keywords:
        monkeypatch.setattr(cpu, "ALONE_US", 0.0)
