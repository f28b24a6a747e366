"""Models that have answered known requests, without a server around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from fusee.server.errors import Reason
from fusee.server.proto.model_config_pb2 import ModelConfig
from fusee.server.scheduling.explain import Explanation
from fusee.server.statistics import ModelStatistics
from fusee.server.types import Done, InferRequest, TensorSpec, Ticket, Timing

COMPARISON = {
    "model": "digits",
    "stable_version": "3",
    "stable_requests": 90,
    "canary_version": "4",
    "canary_percent": 10.0,
    "canary_requests": 10,
    "shadow_version": "5",
    "shadow": {
        "requests": 100,
        "dropped": 3,
        "failed": 1,
        "outputs": {
            "logits": {
                "compared": 99,
                "mismatched": 0,
                "max_abs_difference": 0.25,
                "max_rel_difference": None,
                "argmax_agreement": 0.98,
            }
        },
    },
}


@dataclass
class Stand:
    """A servable with a record and no engine."""

    name: str
    version: str
    statistics: ModelStatistics = field(default_factory=ModelStatistics)
    config: ModelConfig = field(default_factory=ModelConfig)
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    queue_length: int = 0
    explanations: list[Explanation] = field(default_factory=list)

    def explain(self) -> list[Explanation]:
        return self.explanations

    def submit(self, request: InferRequest, done: Done) -> Ticket:
        raise AssertionError("pages submit nothing")

    async def close(self) -> None:
        """Holds nothing."""


def passed(request_us: int, queue_us: int = 100, input_us: int = 10, output_us: int = 20) -> Timing:
    """The timing of a request that was received 50 us before it was queued and took ``request_us`` in all."""
    queued_ns = 1_000_000_000
    started_ns = queued_ns + queue_us * 1000
    finished_ns = queued_ns - 50_000 + request_us * 1000
    return Timing(
        received_ns=queued_ns - 50_000,
        queued_ns=queued_ns,
        started_ns=started_ns,
        input_done_ns=started_ns + input_us * 1000,
        infer_done_ns=finished_ns - output_us * 1000,
        finished_ns=finished_ns,
    )


@pytest.fixture
def passing() -> Callable[..., Timing]:
    return passed


@pytest.fixture
def comparison() -> Any:
    """What the repository tells of a model with a canary and a shadow."""
    return COMPARISON


@pytest.fixture
def stand() -> type[Stand]:
    return Stand


@pytest.fixture
def model() -> Stand:
    """Four requests answered in two batches, one refused, one waiting."""
    found = Stand("digits", "3")
    statistics = found.statistics
    for request_us in (1000, 2000, 4000, 30_000):
        statistics.succeeded(passed(request_us), batch_size=2)
    for _ in range(2):
        statistics.executed(4, input_ns=10_000, infer_ns=800_000, output_ns=20_000)
    statistics.failed("REJECTED", 5_000, Reason.OVERLOADED)
    statistics.pending, found.queue_length, statistics.load_s = 2, 1, 0.75
    found.explanations.append(
        Explanation("r-7", 120.0, batch_size=4, requests=2, why="nothing more fits into the batch")
    )
    return found
