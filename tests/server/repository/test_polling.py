"""Poll mode: what is new or changed is loaded once it is whole, what is gone is unloaded."""

from __future__ import annotations

from pathlib import Path
from shutil import rmtree

from fusee.server.repository.lifecycle import Lifecycle
from fusee.server.repository.polling import Poller
from fusee.server.repository.repository import Repository
from fusee.server.settings import ModelControl, Settings
from server.repository.fake_models import Fakes, answer, reasons, run, settings, states, until, write


class Watched(Poller):
    """A poller that looks when the test says so."""

    newest: Watched

    def __init__(self, lifecycle: Lifecycle, given: Settings) -> None:
        super().__init__(lifecycle, given)
        Watched.newest = self


def test_changes_are_taken_when_they_have_settled(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("fusee.server.repository.repository.Poller", Watched)
    write(tmp_path, "m", {"1": "1"})
    fakes = Fakes()

    async def body(models: Repository) -> None:
        look = Watched.newest.once
        await look()
        await look()
        assert [m.version for m in fakes.made] == ["1"]
        write(tmp_path, "m", {"2": "2"})
        write(tmp_path, "new", {"1": "half"})
        await look()
        assert (await answer(models, "m")).version == "1"
        write(tmp_path, "new", {"1": "1.25"})
        await look()
        assert (await answer(models, "m")).version == "2"
        assert "new" not in {m.name for m in fakes.made}, "it changed between the looks"
        await look()
        assert (await answer(models, "new")).outputs[0].values()[0, 0] == 1.25
        write(tmp_path, "m", {"2": "bad luck"})
        await look()
        await look()
        assert "bad luck" in reasons(models, "m")
        assert (await answer(models, "m")).version == "2"
        made = len(fakes.made)
        await look()
        assert len(fakes.made) == made, "a load that failed is not tried again before something changes"
        rmtree(tmp_path / "m" / "2")
        await look()
        await look()
        assert (await answer(models, "m")).version == "1"
        rmtree(tmp_path / "new")
        await look()
        assert models.is_model_ready("new", "")
        await look()
        await until(lambda: states(models, "new") == ["1 UNAVAILABLE"])
        assert models.is_ready()

    run(settings(tmp_path, model_control=ModelControl.POLL, poll_s=1e6), fakes, body)


def test_looking_goes_on_by_itself(tmp_path: Path):
    async def body(models: Repository) -> None:
        write(tmp_path, "m", {"1": "1"})
        await until(lambda: models.is_model_ready("m", "1"))

    run(settings(tmp_path, model_control=ModelControl.POLL, poll_s=0.01), Fakes(), body)
