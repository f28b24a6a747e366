"""The steps of docs/repository.md do what it says."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from fusee.server.repository.repository import Repository
from server.repository.fake_models import PIPELINE, Fakes, answer, run, settings, until, write

PAGE = Path(__file__).parents[3] / "docs" / "repository.md"


def test_the_steps_of_the_page(tmp_path: Path):
    steps = dict(re.findall(r"```\n# (\w+)\n(.*?)```", PAGE.read_text(), re.DOTALL))
    assert list(steps) == ["shadow", "canary", "promote", "rollback"]
    folder = write(tmp_path, "m", {"1": "1", "2": "2"}, PIPELINE + steps["shadow"])
    fakes = Fakes()

    async def step(models: Repository, name: str) -> dict[str, int]:
        (folder / "config.pbtxt").write_text(PIPELINE + steps[name])
        await models.load("m", {})
        return dict(Counter([(await answer(models, "m")).version for _ in range(100)]))

    async def body(models: Repository) -> None:
        assert (await answer(models, "m")).version == "1"
        await until(lambda: len(fakes.of("m", "2").asked) == 1)
        assert await step(models, "canary") == {"1": 90, "2": 10}
        assert await step(models, "promote") == {"2": 100}
        assert len(fakes.made) == 2
        assert await step(models, "rollback") == {"1": 100}

    run(settings(tmp_path), fakes, body)
