"""Models without engines, and a loop without asyncio: what runs when is up to the test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from queue import Queue
from time import monotonic_ns
from typing import Any

import numpy as np

from fusee.server.errors import Reason, ServingError, not_found
from fusee.server.pipelines.tensors import declared_inputs, declared_outputs
from fusee.server.proto.model_config_pb2 import ModelConfig
from fusee.server.repository.config import parse_config
from fusee.server.scheduling.contract import Contract
from fusee.server.statistics import ModelStatistics
from fusee.server.types import ANSWERED, Done, InferRequest, InferResponse, Tensor, Ticket
from fusee.server.wire import NUMPY

PATIENCE_S = 30.0
Function = Callable[..., Mapping[str, Any]]


class Loop:
    """Runs what other threads post, in the test's thread."""

    def __init__(self) -> None:
        self._posted: Queue[Callable[[], None]] = Queue()

    def post(self, function: Callable[[], None]) -> None:
        self._posted.put(function)

    def step(self) -> None:
        """Wait for the next function that is posted, and run it."""
        self._posted.get(timeout=PATIENCE_S)()

    def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self.step()

    @property
    def is_idle(self) -> bool:
        return self._posted.empty()


@dataclass
class Held:
    """A request that a toy has and that the test has not answered."""

    toy: Toy
    request: InferRequest
    done: Done
    is_cancelled: bool = False

    def cancel(self) -> None:
        if self in self.toy.held:
            self.toy.held.remove(self)
            self.is_cancelled = True
            self.toy.cancelled.append(self)
            self.done(ServingError(Reason.CANCELLED, "cancelled in the toy"))

    def answer(self) -> None:
        self.toy.held.remove(self)
        self.done(self.toy.computed(self.request))


@dataclass
class Toy:
    """A servable whose outputs a function computes: at once, or when the test says so."""

    config: ModelConfig
    function: Function
    is_held: bool = False
    version: str = "1"
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    statistics: ModelStatistics = field(default_factory=ModelStatistics)
    requests: list[InferRequest] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    cancelled: list[Held] = field(default_factory=list)
    is_closed: bool = False

    def __post_init__(self) -> None:
        self.name = self.config.name
        self.inputs = declared_inputs(self.config)
        self.outputs = declared_outputs(self.config)
        self.contract = Contract(self.name, self.inputs, self.outputs, self.config.max_batch_size)

    def submit(self, request: InferRequest, done: Done) -> Ticket:
        self.requests.append(request)
        request.timing.queued_ns = request.timing.started_ns = request.timing.input_done_ns = monotonic_ns()
        if self.is_held:
            held = Held(self, request, done)
            self.held.append(held)
            return held
        done(self.computed(request))
        return ANSWERED

    def computed(self, request: InferRequest) -> InferResponse | ServingError:
        try:
            admitted = self.contract.admit(request)
            results = self.function(**admitted.arrays)
        except ServingError as err:
            return err
        wanted = [w.name for w in request.outputs] or [o.name for o in self.outputs]
        outputs = tuple(tensor(o.name, o.datatype, results[o.name]) for o in self.outputs if o.name in wanted)
        request.timing.infer_done_ns = request.timing.finished_ns = monotonic_ns()
        self.statistics.succeeded(request.timing, admitted.items)
        return InferResponse(self.name, self.version, request.id, outputs)

    async def close(self) -> None:
        self.is_closed = True


def toy(config: str, function: Function, is_held: bool = False) -> Toy:
    """A toy with a configuration in protobuf text."""
    return Toy(parse_config(config, "toy"), function, is_held)


@dataclass
class Shelf:
    """Models by name: a Lookup."""

    models: dict[str, Any]

    def __call__(self, name: str, version: str) -> Any:
        if name not in self.models:
            raise not_found(f"Request for unknown model: '{name}' is not found")
        return self.models[name]


def shelf(*models: Any) -> Shelf:
    return Shelf({m.name: m for m in models})


def tensor(name: str, datatype: str, values: Any) -> Tensor:
    array = np.asarray(values, NUMPY[datatype])
    return Tensor(name, datatype, array.shape, array)


def request(model: str, *inputs: Tensor, **fields: Any) -> InferRequest:
    return InferRequest(model, "", "7", inputs, **fields)


@dataclass
class Answers:
    """A ``done`` that remembers."""

    given: list[InferResponse | ServingError] = field(default_factory=list)

    def __call__(self, answer: InferResponse | ServingError) -> None:
        self.given.append(answer)

    @property
    def error(self) -> ServingError:
        assert len(self.given) == 1, self.given
        assert isinstance(self.given[0], ServingError), self.given
        return self.given[0]

    @property
    def response(self) -> InferResponse:
        assert len(self.given) == 1, self.given
        assert isinstance(self.given[0], InferResponse), self.given
        return self.given[0]

    @property
    def outputs(self) -> dict[str, Any]:
        return {t.name: t.values().tolist() for t in self.response.outputs}
