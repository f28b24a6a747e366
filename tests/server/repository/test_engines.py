"""Engines and ONNX files in a repository: loaded, built when they must be, replaced under real requests."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import fusee
from fusee.server.backends import backends
from fusee.server.errors import ServingError
from fusee.server.repository import building
from fusee.server.repository.config import config_json
from fusee.server.repository.repository import Repository
from fusee.server.types import InferRequest, InferResponse, Tensor
from server.repository.fake_models import reasons, settings, states, until

MOST_MEANWHILE = 20_000  # requests that are answered during a load; it takes about a hundred


def linear(factor: float, rows: str | int = "N") -> onnx.ModelProto:
    """y = factor * x for x of four columns."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, 4]) for name in "xy")
    weights = numpy_helper.from_array(np.float32(factor) * np.eye(4, dtype=np.float32), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "linear", [x], [y], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 2.fusee and 3.fusee, which multiply by that, and fixed.fusee, which takes two rows."""
    folder = tmp_path_factory.mktemp("engines")
    for name, model in (("2", linear(2)), ("3", linear(3)), ("fixed", linear(2, 2))):
        with fusee.build(model) as engine:
            engine.save(folder / f"{name}.fusee")
    return folder


def place(root: Path, engine: Path, version: str = "1", config: str = "") -> None:
    folder = root / "m" / version
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(engine, folder / "model.fusee")
    if config:
        (root / "m" / "config.pbtxt").write_text(config)


def run(root: Path, body: Callable[[Repository], Awaitable[None]]) -> None:
    async def whole() -> None:
        loop = asyncio.get_running_loop()
        models = Repository(settings(root), backends(decoders), loop.call_soon_threadsafe)
        await models.start()
        try:
            await body(models)
        finally:
            await models.close()

    with ThreadPoolExecutor(1) as decoders:
        asyncio.run(asyncio.wait_for(whole(), 60))


async def multiplied(models: Repository, name: str = "m", rows: int = 1) -> float:
    """What the model makes of ones: all its numbers are the same."""
    future: asyncio.Future[InferResponse | ServingError] = asyncio.get_running_loop().create_future()
    ones = np.ones((rows, 4), np.float32)
    models.find(name, "").submit(
        InferRequest(name, "", "", (Tensor("x", "FP32", ones.shape, ones),)), lambda found: future.set_result(found)
    )
    found = await future
    assert isinstance(found, InferResponse), found
    (y,) = found.outputs
    assert y.shape == (rows, 4)
    assert np.all(y.values() == y.values()[0, 0])
    return float(y.values()[0, 0])


def test_engines_are_served_from_both_forms(tmp_path: Path, engines: Path):
    place(tmp_path, engines / "2.fusee", "4", 'output { name: "y" label_filename: "names.txt" }')
    (tmp_path / "m" / "names.txt").write_text("cat\ndog\n")
    shutil.copy(engines / "fixed.fusee", tmp_path / "single.fusee")

    async def body(models: Repository) -> None:
        assert await multiplied(models) == 2
        assert await multiplied(models, "single", rows=2) == 2
        assert models.find("m", "").labels == {"y": ("cat", "dog")}
        config = config_json(models.find("m", "").config)
        assert (config["max_batch_size"], config["input"][0]["dims"]) == (16, [4])
        config = config_json(models.find("single", "").config)
        assert (config["max_batch_size"], config["input"][0]["dims"]) == (0, [2, 4])
        assert config["default_model_filename"] == "single.fusee"
        assert models.is_ready()

    run(tmp_path, body)


def test_warming_up_does_not_count(tmp_path: Path, engines: Path):
    sample = 'inputs { key: "x" value { data_type: TYPE_FP32 dims: [4] random_data: true } }'
    place(tmp_path, engines / "2.fusee", config=f"model_warmup {{ batch_size: 4 count: 3 {sample} }}")

    async def body(models: Repository) -> None:
        statistics = models.find("m", "").statistics
        assert statistics.inference_count == statistics.pending == 0
        assert statistics.load_s > 0
        await multiplied(models, rows=2)
        assert statistics.inference_count == 2
        assert statistics.document()["inference_stats"]["success"]["count"] == 1

    run(tmp_path, body)


def test_statistics_go_on_over_a_change_of_instances_and_no_other(tmp_path: Path, engines: Path):
    """As in Triton 2.51, asked with its client."""
    place(tmp_path, engines / "2.fusee")

    async def counted(models: Repository, config: str) -> tuple[int, int]:
        (tmp_path / "m" / "config.pbtxt").write_text(config)
        await models.load("m", {})
        statistics = models.find("m", "").statistics
        assert statistics.pending == 0
        assert statistics.load_s > 0
        return statistics.inference_count, sum(statistics.request_s.counts)

    async def body(models: Repository) -> None:
        await multiplied(models, rows=2)
        assert await counted(models, "instance_group { count: 2 }") == (2, 1)
        await multiplied(models, rows=2)
        assert models.find("m", "").statistics.inference_count == 4
        assert await counted(models, "instance_group { count: 2 } max_batch_size: 8") == (0, 0)

    run(tmp_path, body)


def test_a_new_engine_takes_over_under_requests(tmp_path: Path, engines: Path):
    place(tmp_path, engines / "2.fusee")

    async def body(models: Repository) -> None:
        answers: list[float] = []
        is_over = False

        async def ask(rows: int) -> None:
            while not is_over:
                answers.append(await multiplied(models, rows=rows))
                await asyncio.sleep(0)  # an answer may be there at once, and the loop has more to do than callers

        callers = [asyncio.ensure_future(ask(1 + i % 3)) for i in range(6)]
        for version, name in ((2, "3"), (3, "2"), (4, "3")):
            place(tmp_path, engines / f"{name}.fusee", str(version))
            before = len(answers)
            await models.load("m", {})
            assert len(answers) - before < MOST_MEANWHILE, "callers without a pause keep a load from being made"
            assert await multiplied(models) == float(name)
        is_over = True
        await asyncio.gather(*callers)
        assert set(answers) == {2.0, 3.0}
        await until(lambda: states(models, "m") == [*(f"{v} UNAVAILABLE" for v in (1, 2, 3)), "4 READY"])

    run(tmp_path, body)


PIPELINE = """from typing import Annotated, NamedTuple

from fusee.server.pipelines import Array, Call, tensor

Rows = Annotated[Array, tensor("FP32", -1, 4)]


class Answer(NamedTuple):
    y: Rows


def run(call: Call, x: Rows) -> Answer:
    return Answer(call("m", x=x)["y"] * 10)
"""
ENSEMBLE = """platform: "ensemble" max_batch_size: 16
input { name: "x" data_type: TYPE_FP32 dims: [4] } output { name: "y" data_type: TYPE_FP32 dims: [4] }
ensemble_scheduling {
  step { model_name: "m" model_version: -1 input_map { key: "x" value: "x" } output_map { key: "y" value: "twice" } }
  step { model_name: "m" model_version: -1 input_map { key: "x" value: "twice" } output_map { key: "y" value: "y" } }
}"""


def test_pipelines_and_ensembles_follow_the_models_that_they_ask(tmp_path: Path, engines: Path):
    place(tmp_path, engines / "2.fusee")
    (tmp_path / "flow").mkdir()
    (tmp_path / "flow" / "config.pbtxt").write_text(ENSEMBLE)
    (tmp_path / "tens" / "1").mkdir(parents=True)
    (tmp_path / "tens" / "1" / "pipeline.py").write_text(PIPELINE)

    async def body(models: Repository) -> None:
        assert await multiplied(models, "flow") == 4
        assert await multiplied(models, "tens") == 20
        before = models.find("flow", "")
        place(tmp_path, engines / "3.fusee", "2")
        await models.load("m", {})
        assert await multiplied(models, "flow") == 9
        assert await multiplied(models, "tens") == 30
        assert models.find("flow", "") is not before, "it was made for version 1"
        await models.unload("m", dependents=False)
        assert not models.is_model_ready("flow", "")
        await models.load("m", {})
        assert await multiplied(models, "flow") == 9

    run(tmp_path, body)


def test_more_instances_do_not_load_the_engine_again(tmp_path: Path, engines: Path, monkeypatch: pytest.MonkeyPatch):
    loads: list[Path] = []

    def load(path: Path) -> fusee.Engine:
        loads.append(path)
        return fusee.load(path)

    monkeypatch.setattr("fusee.server.repository.loading.load", load)
    place(tmp_path, engines / "2.fusee")

    async def body(models: Repository) -> None:
        (tmp_path / "m" / "config.pbtxt").write_text("instance_group { count: 2 kind: KIND_CPU }")
        await models.load("m", {})
        assert models.find("m", "").config.instance_group[0].count == 2
        assert await multiplied(models) == 2
        assert len(loads) == 1
        place(tmp_path, engines / "3.fusee")
        await models.load("m", {})
        assert await multiplied(models) == 3
        assert len(loads) == 2

    run(tmp_path, body)


def test_a_damaged_engine_keeps_the_old_one(tmp_path: Path, engines: Path):
    place(tmp_path, engines / "2.fusee")

    async def body(models: Repository) -> None:
        path = tmp_path / "m" / "2" / "model.fusee"
        path.parent.mkdir()
        path.write_bytes((engines / "3.fusee").read_bytes()[:-1000])
        with pytest.raises(ServingError, match="load failed for model 'm': version 2 is at UNAVAILABLE state: "):
            await models.load("m", {})
        assert await multiplied(models) == 2
        (tmp_path / "m" / "config.pbtxt").write_text('input { name: "x" data_type: TYPE_INT8 }')
        shutil.rmtree(path.parent)
        with pytest.raises(
            ServingError, match="input 'x' is TYPE_INT8 in the configuration and TYPE_FP32 in the engine"
        ):
            await models.load("m", {})
        assert await multiplied(models) == 2

    run(tmp_path, body)


def test_a_backend_that_its_file_is_not_for(tmp_path: Path, engines: Path):
    place(tmp_path, engines / "2.fusee", config='backend: "python"')

    async def body(models: Repository) -> None:
        assert "m/1: has model.fusee; the backend 'python' takes a file .py" in reasons(models, "m")

    run(tmp_path, body)


def test_an_onnx_model_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "m" / "1").mkdir(parents=True)
    onnx.save(linear(2), tmp_path / "m" / "1" / "model.onnx")
    cache = tmp_path / "m" / "1" / building.CACHE_FOLDER

    async def built(models: Repository) -> None:
        assert await multiplied(models) == 2
        assert len(list(cache.iterdir())) == 1

    run(tmp_path, built)
    monkeypatch.setattr(sys, "executable", "there is no such program")

    async def cached(models: Repository) -> None:
        assert await multiplied(models) == 2
        onnx.save(linear(3), tmp_path / "m" / "1" / "model.onnx")
        with pytest.raises(ServingError, match="m"):
            await models.load("m", {})
        assert await multiplied(models) == 2

    run(tmp_path, cached)


def test_a_model_that_cannot_be_built_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "bad.onnx").write_bytes(b"this is no model")

    async def body(models: Repository) -> None:
        assert "bad.onnx: cannot be built: " in reasons(models, "bad")
        assert "fusee: " in reasons(models, "bad")

    run(tmp_path, body)
    monkeypatch.setattr(building, "find_spec", lambda _: None)

    async def without(models: Repository) -> None:
        assert "the compiler is not installed (onnx, llvmlite, typer missing): install fusee" in reasons(models, "bad")

    run(tmp_path, without)


def test_engines_are_kept_elsewhere_when_the_repository_cannot_be_written(tmp_path: Path, monkeypatch):
    root, home = tmp_path / "root", tmp_path / "home"
    root.mkdir()
    onnx.save(linear(2), root / "single.onnx")
    (root / building.CACHE_FOLDER).write_text("in the way")
    monkeypatch.setattr(Path, "home", lambda: home)

    async def body(models: Repository) -> None:
        assert await multiplied(models, "single") == 2
        (engine,) = (home / ".cache" / "fusee" / "engines").iterdir()
        assert engine.name.startswith("single-")

    run(root, body)


def test_the_key_of_an_engine_follows_the_model_and_its_data(tmp_path: Path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"a")
    first = building._key(path)
    assert building._key(path) == first
    (tmp_path / "weights.bin").write_bytes(b"1")
    with_weights = building._key(path)
    (tmp_path / "weights.bin").write_bytes(b"2")
    assert len({first, with_weights, building._key(path)}) == 3
