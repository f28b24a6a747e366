"""Between the opening of doors and the first models: not there yet is no reason to say that there is no such model."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fusee.server.errors import Reason, ServingError
from fusee.server.repository.repository import Repository
from fusee.server.settings import Settings


def _find(repository: Repository) -> ServingError:
    with pytest.raises(ServingError) as found:
        repository.find("digits", "")
    return found.value


def test_a_name_is_unknown_only_once_the_models_are_known(tmp_path: Path):
    async def reasons() -> list[ServingError]:
        repository = Repository(Settings((tmp_path,)), {}, asyncio.get_running_loop().call_soon_threadsafe)
        before = _find(repository)
        await repository.start()
        after = _find(repository)
        await repository.close()
        return [before, after]

    before, after = asyncio.run(reasons())
    assert (before.reason, before.retry_after_s) == (Reason.UNAVAILABLE, 1.0)
    assert before.message == "model 'digits': the server is starting; try again"
    assert after.reason is Reason.NOT_FOUND
