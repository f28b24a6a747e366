"""Loading, replacing and unloading models of a repository, with backends that answer when they are told to."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from pathlib import Path
from time import monotonic

import pytest

from fusee.server.errors import Reason, ServingError
from fusee.server.repository.repository import LOOK_AGAIN_S, Repository
from fusee.server.settings import ModelControl
from server.repository.fake_models import (
    PIPELINE,
    Fakes,
    answer,
    ensemble,
    reasons,
    request,
    run,
    settings,
    states,
    until,
    write,
)


def test_the_latest_version_answers_and_the_others_are_not_there(tmp_path: Path):
    write(tmp_path, "m", {"1": "1", "2": "2", "10": "10"})

    async def body(models: Repository) -> None:
        assert (await answer(models, "m")).version == "10"
        assert models.versions("m") == ["10"]
        assert models.is_model_ready("m", "10")
        assert not models.is_model_ready("m", "2")
        with pytest.raises(ServingError, match="Request for unknown model: 'm' version 2 is not found") as caught:
            models.find("m", "2")
        assert caught.value.reason is Reason.NOT_FOUND
        with pytest.raises(ServingError, match="Request for unknown model: 'zebra' is not found"):
            models.find("zebra", "")

    run(settings(tmp_path), Fakes(), body)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("latest { num_versions: 2 }", ["2", "10"]),
        ("all { }", ["1", "2", "10"]),
        ("specific { versions: [1, 2] }", ["1", "2"]),
    ],
)
def test_the_version_policy_selects(tmp_path: Path, policy: str, expected: list[str]):
    write(tmp_path, "m", {"1": "1", "2": "2", "10": "10"}, f"{PIPELINE} version_policy {{ {policy} }}")

    async def body(models: Repository) -> None:
        assert models.versions("m") == expected
        assert models.find("m", "").version == expected[-1]
        assert [s.version for s in models.servables()] == expected

    run(settings(tmp_path), Fakes(), body)


def test_a_missing_version_that_the_policy_names_is_an_error(tmp_path: Path):
    write(tmp_path, "m", {"1": "1"}, f"{PIPELINE} version_policy {{ specific {{ versions: [1, 7] }} }}")

    async def body(models: Repository) -> None:
        assert not models.is_ready()
        assert reasons(models, "m") == "m/config.pbtxt: version_policy names version 7, which is not there"

    run(settings(tmp_path), Fakes(), body)


def test_a_new_version_takes_over_without_a_failed_request(tmp_path: Path):
    write(tmp_path, "m", {"1": "1"})
    fakes = Fakes()

    async def body(models: Repository) -> None:
        answers: list[str] = []
        is_over = False

        async def ask() -> None:
            while not is_over:
                answers.append((await answer(models, "m")).version)

        callers = [asyncio.ensure_future(ask()) for _ in range(8)]
        for version in range(2, 12):
            write(tmp_path, "m", {str(version): str(version)})
            await models.load("m", {})
            await until(lambda v=version: answers[-1:] == [str(v)])
        is_over = True
        await asyncio.gather(*callers)
        assert answers == sorted(answers, key=int)
        assert states(models, "m")[-1] == "11 READY"
        await until(lambda: all(m.is_closed for m in fakes.made[:-1]))
        assert states(models, "m") == [*(f"{v} UNAVAILABLE" for v in range(1, 11)), "11 READY"]

    run(settings(tmp_path), fakes, body)


def test_the_old_version_answers_what_it_accepted_before_it_is_closed(tmp_path: Path):
    write(tmp_path, "m", {"1": "1"})
    fakes = Fakes()

    async def body(models: Repository) -> None:
        old = fakes.of("m")
        old.gate = False
        waiting = asyncio.ensure_future(answer(models, "m"))
        await asyncio.sleep(0)
        write(tmp_path, "m", {"2": "2"})
        await models.load("m", {})
        assert (await answer(models, "m")).version == "2"
        assert states(models, "m") == ["1 UNLOADING", "2 READY"]
        assert not old.is_closed
        old.release()
        assert (await waiting).version == "1"
        await until(lambda: old.is_closed)
        assert states(models, "m") == ["1 UNAVAILABLE", "2 READY"]
        assert reasons(models, "m").startswith("unloaded")

    run(settings(tmp_path), fakes, body)


@pytest.mark.parametrize("broken", ["bad luck", "broken by a bug"])
def test_a_reload_that_fails_keeps_the_old_version_and_says_why(tmp_path: Path, broken: str):
    write(tmp_path, "m", {"1": "1"})
    fakes = Fakes()

    async def body(models: Repository) -> None:
        write(tmp_path, "m", {"2": broken})
        with pytest.raises(
            ServingError, match=f"load failed for model 'm': version 2 is at UNAVAILABLE state: .*{broken}"
        ):
            await models.load("m", {})
        assert (await answer(models, "m")).version == "1"
        assert states(models, "m") == ["1 READY", "2 UNAVAILABLE"]
        assert broken in reasons(models, "m")
        assert models.is_ready()
        write(tmp_path, "m", {"2": "2"})
        await models.load("m", {})
        assert (await answer(models, "m")).version == "2"

    run(settings(tmp_path), fakes, body)


def test_the_same_version_made_anew_that_fails_keeps_the_old(tmp_path: Path):
    write(tmp_path, "m", {"1": "1"})

    async def body(models: Repository) -> None:
        write(tmp_path, "m", {"1": "bad luck"})
        with pytest.raises(ServingError, match="bad luck"):
            await models.load("m", {})
        assert (await answer(models, "m", value=3)).outputs[0].values()[0, 0] == 4
        assert states(models, "m") == ["1 READY"]
        assert "bad luck" in reasons(models, "m")
        (tmp_path / "m" / "config.pbtxt").write_text("nonsense: 3")
        with pytest.raises(ServingError, match=r'm/config.pbtxt:1:1: .*no field named "nonsense"'):
            await models.load("m", {})
        assert models.is_model_ready("m", "1")
        write(tmp_path, "m", {"1": "7"})
        await models.load("m", {})
        assert (await answer(models, "m")).outputs[0].values()[0, 0] == 7
        assert reasons(models, "m") == ""

    run(settings(tmp_path), Fakes(), body)


def test_all_versions_fail_together(tmp_path: Path):
    write(tmp_path, "m", {"1": "1", "2": "bad luck"}, PIPELINE + "version_policy { all { } }")
    fakes = Fakes()

    async def body(models: Repository) -> None:
        assert states(models, "m") == ["1 UNAVAILABLE", "2 UNAVAILABLE"]
        assert reasons(models, "m") == "another version failed to load | bad luck"
        assert fakes.of("m", "1").is_closed
        with pytest.raises(ServingError, match="'m' has no available versions") as caught:
            models.find("m", "")
        assert caught.value.reason is Reason.NOT_FOUND

    run(settings(tmp_path), fakes, body)


def test_a_load_without_a_change_keeps_the_servable(tmp_path: Path):
    write(tmp_path, "m", {"1": "1"})
    fakes = Fakes()

    async def body(models: Repository) -> None:
        before = models.find("m", "")
        await models.load("m", {})
        assert models.find("m", "") is before
        (tmp_path / "m" / "config.pbtxt").write_text(PIPELINE + "instance_group { count: 2 }")
        await models.load("m", {})
        assert models.find("m", "").config.instance_group[0].count == 2
        assert len(fakes.made) == 2

    run(settings(tmp_path), fakes, body)


def test_a_model_being_loaded_is_unavailable_for_now(tmp_path: Path):
    write(tmp_path, "m", {"1": "1"})
    gate = threading.Event()
    fakes = Fakes(wait=gate.wait)

    async def body(models: Repository) -> None:
        loading = asyncio.ensure_future(models.load("m", {}))
        await until(lambda: states(models, "m") == ["1 LOADING"])
        with pytest.raises(ServingError, match="it is loading") as caught:
            models.find("m", "")
        assert caught.value.reason is Reason.UNAVAILABLE
        assert not models.is_ready()
        loading.cancel()
        gate.set()
        await until(lambda: models.is_model_ready("m", ""))
        assert models.is_ready()

    run(settings(tmp_path, load_models=()), fakes, body)


def test_unloaded_models_come_back(tmp_path: Path):
    write(tmp_path, "m", {"1": "1"})

    async def body(models: Repository) -> None:
        await models.unload("m", dependents=False)
        assert models.is_ready()
        assert models.servables() == []
        await until(lambda: states(models, "m") == ["1 UNAVAILABLE"])
        assert reasons(models, "m") == "unloaded"
        with pytest.raises(ServingError, match="'m' has no available versions"):
            models.find("m", "")
        await models.load("m", {})
        assert states(models, "m") == ["1 READY"]
        await models.unload("unheard-of", dependents=True)

    run(settings(tmp_path), Fakes(), body)


def test_an_unknown_model_cannot_be_loaded(tmp_path: Path):
    async def body(models: Repository) -> None:
        with pytest.raises(ServingError, match="failed to load 'nope': there is no such model") as caught:
            await models.load("nope", {})
        assert caught.value.reason is Reason.NOT_FOUND
        with pytest.raises(ServingError, match="cannot be a model's name"):
            await models.load("../nope", {})
        assert models.index(False) == []

    run(settings(tmp_path), Fakes(), body)


def test_pages_list_the_folders_without_reading_them(tmp_path: Path):
    """They are read beside the loop, and shown to the next page."""
    write(tmp_path, "a", {"1": "1"})

    async def body(models: Repository) -> None:
        write(tmp_path, "late", {"1": "1"})
        models._found_s = monotonic()  # pyright: ignore
        assert [m["name"] for m in models.listing()] == ["a"]
        assert models._looking is None, "it was read just now"  # pyright: ignore
        models._found_s -= LOOK_AGAIN_S  # pyright: ignore
        assert [m["name"] for m in models.listing()] == ["a"]
        looking = models._looking  # pyright: ignore
        assert looking is not None
        await looking
        assert models.listing() == models.index(False)
        assert [m["name"] for m in models.listing()] == ["a", "late"]

    run(settings(tmp_path), Fakes(), body)


def test_the_index_shows_what_is_not_loaded(tmp_path: Path):
    write(tmp_path, "a", {"1": "1"})
    write(tmp_path, "b", {"1": "1"})
    (tmp_path / "bad name").mkdir()

    async def body(models: Repository) -> None:
        a, b, refused = models.index(False)
        assert a == {"name": "a", "version": "1", "state": "READY"}
        assert b == {"name": "b"}
        assert refused["state"] == "UNAVAILABLE"
        assert "cannot be a model's name" in refused["reason"]
        assert models.index(True) == [a]
        assert models.is_ready()

    run(settings(tmp_path, load_models=("a",)), Fakes(), body)


def test_without_explicit_control_everything_is_loaded_and_calls_are_refused(tmp_path: Path):
    write(tmp_path, "a", {"1": "1"})
    write(tmp_path, "b", {"1": "bad luck"})

    async def body(models: Repository) -> None:
        assert models.is_model_ready("a", "")
        assert not models.is_ready()
        for call in (models.load("a", {}), models.unload("a", False)):
            with pytest.raises(ServingError, match="not allowed: the server runs with --model-control none"):
                await call

    run(settings(tmp_path, model_control=ModelControl.NONE), Fakes(), body)

    async def lenient(models: Repository) -> None:
        assert models.is_ready()

    run(settings(tmp_path, model_control=ModelControl.NONE, strict_readiness=False), Fakes(), lenient)


def test_an_ensemble_brings_and_takes_along_what_it_asks(tmp_path: Path):
    write(tmp_path, "m", {"1": "1"})
    write(tmp_path, "e", {}, ensemble("m"))

    async def body(models: Repository) -> None:
        await models.load("e", {})
        assert states(models, "m") == states(models, "e") == ["1 READY"]
        await models.unload("e", dependents=False)
        assert models.is_model_ready("m", "")
        await models.load("e", {})
        await models.unload("e", dependents=True)
        assert not models.is_model_ready("m", "")
        await models.load("m", {})
        await models.load("e", {})
        await models.unload("e", dependents=True)
        assert models.is_model_ready("m", ""), "it was loaded by name"

    run(settings(tmp_path, load_models=()), Fakes(), body)


def test_an_ensemble_goes_and_comes_back_with_what_it_asks(tmp_path: Path):
    write(tmp_path, "m", {"1": "1"})
    write(tmp_path, "e", {}, ensemble("m"))
    fakes = Fakes()

    async def body(models: Repository) -> None:
        await models.unload("m", dependents=False)
        assert not models.is_model_ready("e", "")
        await models.load("m", {})
        assert models.is_model_ready("e", "")
        before = models.find("e", "")
        write(tmp_path, "m", {"1": "2"})
        await models.load("m", {})
        assert models.find("e", "") is before, "what it asks takes the same tensors"
        write(tmp_path, "m", {"1": "3"}, PIPELINE.replace("dims: [2]", "dims: [3]"))
        await models.load("m", {})
        assert models.find("e", "") is not before

    run(settings(tmp_path), fakes, body)


def test_what_an_ensemble_accepted_is_answered_before_what_it_asks_goes(tmp_path: Path):
    write(tmp_path, "m", {"1": "1"})
    write(tmp_path, "e", {}, ensemble("m"))
    fakes = Fakes()

    async def body(models: Repository) -> None:
        fakes.of("e").gate = False
        waiting = asyncio.ensure_future(answer(models, "e"))
        await asyncio.sleep(0)
        unloading = asyncio.ensure_future(models.unload("m", dependents=False))
        await until(lambda: states(models, "e") == ["1 UNLOADING"])
        assert models.is_model_ready("m", ""), "the ensemble may ask it still"
        fakes.of("e").release()
        assert (await waiting).model == "e"
        await unloading
        assert not models.is_model_ready("m", "")

    run(settings(tmp_path), fakes, body)


def test_models_are_made_once_at_start(tmp_path: Path):
    write(tmp_path, "m", {"1": "1"})
    write(tmp_path, "e", {}, ensemble("m"))
    write(tmp_path, "f", {}, ensemble("e", "m"))
    fakes = Fakes()

    async def body(models: Repository) -> None:
        assert sorted(m.name for m in fakes.made) == ["e", "f", "m"]
        assert models.is_ready()

    run(settings(tmp_path), fakes, body)


def test_refusals_at_start_say_why_and_hold_readiness_back(tmp_path: Path):
    write(tmp_path, "m", {"1": "1"})
    (tmp_path / "out").symlink_to("/")

    async def body(models: Repository) -> None:
        assert "leads out of the repository" in reasons(models, "out")
        assert not models.is_ready()
        await models.unload("out", dependents=False)
        assert models.is_ready()
        assert "leads out of the repository" in reasons(models, "out")

    run(settings(tmp_path), Fakes(), body)


def test_ensembles_that_cannot_be_served_say_why(tmp_path: Path):
    write(tmp_path, "lonely", {}, ensemble("nobody"))
    write(tmp_path, "snake", {}, ensemble("tail"))
    write(tmp_path, "tail", {}, ensemble("snake"))

    async def body(models: Repository) -> None:
        assert "lonely: asks the model 'nobody', which is not available: " in reasons(models, "lonely")
        assert "ensembles ask each other in a circle: snake -> tail -> snake" in reasons(models, "snake")

    run(settings(tmp_path, load_models=("lonely", "snake")), Fakes(), body)


def test_python_models_need_permission(tmp_path: Path):
    write(tmp_path, "m", {"1": "1"})

    async def body(models: Repository) -> None:
        assert "start it with --allow-python-models" in reasons(models, "m")

    run(settings(tmp_path, allow_python_models=False), Fakes(), body)


def config_json(**more: object) -> str:
    tensor = {"data_type": "TYPE_FP32", "dims": [2]}
    config = {"backend": "python", "input": [{"name": "x", **tensor}], "output": [{"name": "y", **tensor}]}
    return json.dumps({**config, **more})


def test_a_load_carries_a_configuration_and_files_where_that_is_allowed(tmp_path: Path):
    write(tmp_path, "m", {"1": "1"})
    content = base64.b64encode(b"42").decode()

    async def body(models: Repository) -> None:
        await models.load("m", {"config": config_json(max_batch_size=3)})
        assert models.find("m", "").config.max_batch_size == 3
        await models.load("m", {"config": config_json(max_batch_size=3), "file:7/pipeline.py": content})
        found = await answer(models, "m")
        assert (found.version, found.outputs[0].values()[0, 0]) == ("7", 42)
        await models.load("m", {})
        assert (await answer(models, "m")).version == "1"
        await models.load("new", {"config": config_json(), "file:1/pipeline.py": content})
        assert models.is_model_ready("new", "1")

    run(settings(tmp_path, allow_load_override=True), Fakes(), body)

    async def refused(models: Repository) -> None:
        with pytest.raises(ServingError, match="start it with --allow-load-override") as caught:
            await models.load("m", {"config": config_json()})
        assert caught.value.reason is Reason.FORBIDDEN

    run(settings(tmp_path), Fakes(), refused)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"config": "{"}, "load of 'm': config: Failed to load JSON"),
        ({"config": "[1]"}, "load of 'm': config: "),
        ({"config": '{"max_batch_size": "x"}'}, "load of 'm': config: "),
        ({"config": 3}, "parameter 'config' is to be a string"),
        ({"zork": "x"}, "parameter 'zork' is unknown"),
        ({"file:1/pipeline.py": "MQ=="}, "files are given without config"),
        ({"config": "{}", "file:1/../x": "MQ=="}, "parameter 'file:1/../x' is unknown"),
        ({"config": "{}", "file:x/pipeline.py": "MQ=="}, "is unknown"),
        ({"config": "{}", "file:01/pipeline.py": "MQ=="}, "01 is no version"),
        ({"config": "{}", "file:1/pipeline.py": "?"}, "is not base64"),
    ],
)
def test_wrong_parameters_of_a_load_are_refused(tmp_path: Path, parameters: dict[str, object], message: str):
    write(tmp_path, "m", {"1": "1"})

    async def body(models: Repository) -> None:
        with pytest.raises(ServingError, match=message.replace("(", r"\(")):
            await models.load("m", parameters)
        assert models.is_model_ready("m", "1")

    run(settings(tmp_path, allow_load_override=True), Fakes(), body)


def test_the_server_closes_ensembles_before_what_they_ask_and_loads_nothing_after(tmp_path: Path):
    write(tmp_path, "m", {"1": "1"})
    write(tmp_path, "e", {}, ensemble("m"))
    fakes = Fakes()

    async def body(models: Repository) -> None:
        closed: list[str] = []
        for model in fakes.made:
            close = model.close

            async def noted(close=close, name=model.name) -> None:
                await close()
                closed.append(name)

            model.close = noted
        waiting = asyncio.ensure_future(answer(models, "m"))
        await asyncio.sleep(0)
        await models.close()
        assert (await waiting).version == "1"
        assert closed == ["e", "m"]
        with pytest.raises(ServingError, match="the server is stopping") as caught:
            models.find("m", "")
        assert caught.value.reason is Reason.UNAVAILABLE
        with pytest.raises(ServingError, match="the server is stopping"):
            await models.load("m", {})
        assert not models.is_ready()

    run(settings(tmp_path), fakes, body)


def test_warm_up_comes_before_ready_and_its_failure_is_the_loads(tmp_path: Path):
    kinds = ['name: "zeros" batch_size: 3 count: 2', "zero_data: true"], ["", 'input_data_file: "x.raw"']
    warmup = "".join(
        f'model_warmup {{ {more} inputs {{ key: "x" value {{ data_type: TYPE_FP32 dims: [2] {kind} }} }} }}'
        for more, kind in (*kinds, ['name: "random"', "random_data: true"])
    )
    folder = write(tmp_path, "m", {"1": "1"}, PIPELINE + warmup)
    (folder / "warmup").mkdir()
    (folder / "warmup" / "x.raw").write_bytes(b"\0\0\x80?\0\0\0@")
    fakes = Fakes()

    async def body(models: Repository) -> None:
        asked = [r.inputs[0].values().tolist() for r in fakes.of("m").asked]
        assert asked[:3] == [[[0, 0]] * 3, [[0, 0]] * 3, [[1, 2]]]
        assert 0 <= min(asked[3][0]) < max(asked[3][0]) < 1
        (folder / "warmup" / "x.raw").write_bytes(b"\0")
        write(tmp_path, "m", {"2": "2"}, config=None)
        with pytest.raises(ServingError, match="1 bytes of data, expected 8"):
            await models.load("m", {})
        assert fakes.of("m", "2").is_closed
        assert models.find("m", "").version == "1"

    run(settings(tmp_path), fakes, body)


def test_a_request_by_version_meets_that_version(tmp_path: Path):
    write(tmp_path, "m", {"1": "1", "2": "2"}, PIPELINE + "version_policy { all { } }")
    fakes = Fakes()

    async def body(models: Repository) -> None:
        models.find("m", "1").submit(request("m"), lambda _: None)
        assert len(fakes.of("m", "1").asked) == 1
        assert fakes.of("m", "2").asked == []

    run(settings(tmp_path), fakes, body)
