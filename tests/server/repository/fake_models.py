"""A backend of models that answer when they are told to, and folders to load them from."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fusee.server.errors import ServingError, invalid
from fusee.server.proto.model_config_pb2 import ModelConfig
from fusee.server.repository.loading import LoadContext
from fusee.server.repository.repository import Repository
from fusee.server.settings import ModelControl, Settings
from fusee.server.statistics import ModelStatistics
from fusee.server.types import Done, InferRequest, InferResponse, Tensor, TensorSpec, Ticket

PIPELINE = (
    'backend: "python" max_batch_size: 8 '
    'input { name: "x" data_type: TYPE_FP32 dims: [2] } output { name: "y" data_type: TYPE_FP32 dims: [2] }'
)


@dataclass
class FakeTicket:
    """Cancels nothing."""

    def cancel(self) -> None:
        """Too late."""


@dataclass
class FakeModel:
    """Adds its file's number to its input; holds answers back while ``gate`` is shut."""

    context: LoadContext
    amount: float
    statistics: ModelStatistics = field(default_factory=ModelStatistics)
    asked: list[InferRequest] = field(default_factory=list)
    held: list[tuple[InferRequest, Done]] = field(default_factory=list)
    gate: bool = True
    is_closed: bool = False
    failure: ServingError | None = None

    @property
    def name(self) -> str:
        return self.context.name

    @property
    def version(self) -> str:
        return self.context.version

    @property
    def config(self) -> ModelConfig:
        return self.context.config

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(t.name, "FP32", (-1, *t.dims)) for t in self.config.input)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(t.name, "FP32", (-1, *t.dims)) for t in self.config.output)

    @property
    def labels(self) -> Mapping[str, tuple[str, ...]]:
        return self.context.labels

    def submit(self, request: InferRequest, done: Done) -> Ticket:
        assert not self.is_closed, "a closed model was asked"
        self.asked.append(request)
        self.held.append((request, done))
        if self.gate:
            asyncio.get_running_loop().call_soon(self.release)
        return FakeTicket()

    def release(self) -> None:
        """Answer what is held back."""
        held, self.held = self.held, []
        for request, done in held:
            x = request.inputs[0].values() if request.inputs else np.zeros((1, 2), np.float32)
            y = Tensor("y", "FP32", x.shape, x + np.float32(self.amount))
            done(self.failure or InferResponse(self.name, self.version, request.id, (y,)))

    async def close(self) -> None:
        while self.held:
            await asyncio.sleep(0)
        self.is_closed = True


@dataclass
class Fakes:
    """The backend: a pipeline.py holds the number that the model adds, or the reason why it cannot be loaded."""

    made: list[FakeModel] = field(default_factory=list)
    wait: Callable[[], None] = lambda: None

    def __call__(self, context: LoadContext) -> FakeModel:
        self.wait()
        text = context.file.read_text() if context.file else "0"
        if text.startswith("bad"):
            raise invalid(text)
        if text.startswith("broken"):
            raise RuntimeError(text)
        for step in context.config.ensemble_scheduling.step:
            context.lookup(step.model_name, "")
        model = FakeModel(context, float(text))
        self.made.append(model)
        return model

    def of(self, name: str, version: str = "1") -> FakeModel:
        """The newest of that version."""
        return [m for m in self.made if (m.name, m.version) == (name, version)][-1]


def write(root: Path, name: str, versions: Mapping[str, str], config: str | None = PIPELINE) -> Path:
    """A model in a repository, each version with the text of its pipeline.py."""
    folder = root / name
    for version, text in versions.items():
        (folder / version).mkdir(parents=True, exist_ok=True)
        (folder / version / "pipeline.py").write_text(text)
    if config is not None:
        folder.mkdir(exist_ok=True)
        (folder / "config.pbtxt").write_text(config)
    return folder


def ensemble(*steps: str) -> str:
    """The configuration of an ensemble that asks those models one after another."""
    listed = " ".join(
        f'step {{ model_name: "{s}" model_version: -1 input_map {{ key: "x" value: "x" }} '
        f'output_map {{ key: "y" value: "y" }} }}'
        for s in steps
    )
    tensors = PIPELINE.partition("max_batch_size")[2]
    return f'platform: "ensemble" max_batch_size{tensors} ensemble_scheduling {{ {listed} }}'


def settings(root: Path, **more: Any) -> Settings:
    values: dict[str, Any] = {"model_control": ModelControl.EXPLICIT, "load_models": ("*",)}
    return Settings((root,), **{**values, "allow_python_models": True, **more})


def run(given: Settings, fakes: Fakes, body: Callable[[Repository], Awaitable[None]]) -> None:
    """Start a repository of fakes, do something with it, close it."""

    async def whole() -> None:
        loop = asyncio.get_running_loop()
        found = Repository(given, {"python": fakes, "ensemble": fakes}, loop.call_soon_threadsafe)
        await found.start()
        try:
            await body(found)
        finally:
            await found.close()

    asyncio.run(asyncio.wait_for(whole(), 60))


def request(model: str, id: str = "", value: float = 0.0) -> InferRequest:
    array = np.full((1, 2), value, np.float32)
    return InferRequest(model, "", id, (Tensor("x", "FP32", (1, 2), array),))


async def answer(models: Repository, name: str, version: str = "", id: str = "", value: float = 0.0) -> InferResponse:
    """What a model answers. Raises the error that it gives."""
    future: asyncio.Future[InferResponse | ServingError] = asyncio.get_running_loop().create_future()
    models.find(name, version).submit(request(name, id, value), future.set_result)
    found = await future
    if isinstance(found, ServingError):
        raise found
    return found


def states(models: Repository, name: str) -> list[str]:
    return [f"{e.get('version', '')} {e.get('state', '')}" for e in models.index(False) if e["name"] == name]


def reasons(models: Repository, name: str) -> str:
    return " | ".join(e.get("reason", "") for e in models.index(False) if e["name"] == name)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until it is so."""
    while not condition():
        await asyncio.sleep(0.001)
