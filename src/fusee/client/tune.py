"""Finds how to serve a model: the instances, largest batch and delay that answer most requests within a latency."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from google.protobuf import text_format

from fusee.base.errors import RequestError
from fusee.client.arrivals import Arrivals
from fusee.client.capacity import find_capacity
from fusee.client.infer import ask, infer_request, random_tensors
from fusee.client.load import LoadReport, run_load
from fusee.client.process import ServerProcess, server_process
from fusee.runtime.cores import default_threads
from fusee.server.proto.model_config_pb2 import ModelConfig, ModelInstanceGroup
from fusee.server.repository.config import read_config
from fusee.server.repository.layout import CONFIG_FILE, Source, find_model


@dataclass(frozen=True)
class Way:
    """One way to serve: sessions side by side, threads of each, the largest batch, and how long to wait for it."""

    instances: int
    threads: int
    max_batch_size: int
    delay_us: int

    def __str__(self) -> str:
        return (
            f"{self.instances} x {self.threads} threads, batches up to {self.max_batch_size}, delay {self.delay_us} us"
        )


@dataclass(frozen=True)
class Tried:
    """A way and the most that it answered within the latency; None when not even a sixteenth of the first rate."""

    way: Way
    best: LoadReport | None

    @property
    def rate_per_s(self) -> float:
        return self.best.rate_per_s if self.best else 0.0


@dataclass(frozen=True)
class Tuning:
    """What to tune for: a model of a repository, the latency, how long each load lasts, where the search begins."""

    repository: Path
    model: str
    target_p99_s: float
    duration_s: float
    first_rate_per_s: float


def tune(tuning: Tuning, tried: Callable[[Tried], None]) -> Tried:
    """Measure one way after another, tell each, and give the best. Raises RequestError when none meets the latency.

    First every split of the cores with batches of 1, 4 and the most that the model is served with; then, for the best
    of these, two delays.
    """
    found: list[Tried] = []

    def measure(ways: Iterable[Way]) -> Tried:
        for way in ways:
            found.append(_measure(tuning, way))
            tried(found[-1])
        return max(found, key=lambda each: each.rate_per_s)

    best = measure(_first_ways(_served_batch_size(tuning)))
    if best.best is None:
        raise RequestError(
            f"{tuning.model}: no way of serving it answers {tuning.first_rate_per_s / 16:g} requests/s within "
            f"{tuning.target_p99_s * 1e3:g} ms; ask for a longer --p99-ms"
        )
    if best.way.max_batch_size > 1:
        delays_us = (round(tuning.target_p99_s * 1e6 / share) for share in (50, 10))
        best = measure(replace(best.way, delay_us=delay_us) for delay_us in delays_us)
    return best


def _first_ways(largest_batch: int) -> list[Way]:
    cores = default_threads()
    splits = [(instances, cores // instances) for instances in range(1, cores + 1) if cores % instances == 0]
    batches = sorted({1, min(4, largest_batch), largest_batch})
    return [Way(instances, threads, batch, 0) for instances, threads in splits for batch in batches]


def _measure(tuning: Tuning, way: Way) -> Tried:
    with tempfile.TemporaryDirectory() as folder, _served(tuning, way, Path(folder)) as server:
        metadata = ask(server.http, "GET", f"/v2/models/{tuning.model}")
        request = infer_request(server.http, tuning.model, random_tensors(metadata, {}, 1, seed=0))

        def measure(rate_per_s: float) -> LoadReport:
            return run_load(server.http, [request], Arrivals(rate_per_s, tuning.duration_s))

        return Tried(way, find_capacity(measure, tuning.first_rate_per_s, tuning.target_p99_s).best)


def _served(tuning: Tuning, way: Way, folder: Path) -> AbstractContextManager[ServerProcess]:
    """A server with that model alone, served in that way."""
    source = _source(tuning)
    place = folder / tuning.model
    if source.is_folder:
        shutil.copytree(source.folder, place)
    else:
        (only,) = source.versions.values()
        (place / "1").mkdir(parents=True)
        shutil.copy(only, place / "1" / f"model{only.suffix}")
    (place / CONFIG_FILE).write_text(way_config(tuning, way))
    return server_process(folder)


def way_config(tuning: Tuning, way: Way) -> str:
    """The model's config.pbtxt, changed to be served in that way."""
    path = _source(tuning).config_path
    config = read_config(path, str(path)) if path else ModelConfig()
    config.max_batch_size = way.max_batch_size
    config.ClearField("dynamic_batching")
    if way.max_batch_size > 1:
        config.dynamic_batching.max_queue_delay_microseconds = way.delay_us
    config.ClearField("instance_group")
    config.instance_group.add(count=way.instances, kind=ModelInstanceGroup.KIND_CPU)
    config.parameters["threads"].string_value = str(way.threads)
    return text_format.MessageToString(config)


def _source(tuning: Tuning) -> Source:
    found = find_model([tuning.repository], tuning.model)
    if isinstance(found, Source):
        return found
    reason = found.reason if found else f"there is no model {tuning.model!r} in {tuning.repository}"
    raise RequestError(f"--tune: {reason}")


def _served_batch_size(tuning: Tuning) -> int:
    """The largest batch that the model is served with as it is."""
    with server_process(tuning.repository, ["--model-control", "explicit", "--load-model", tuning.model]) as server:
        config = ask(server.http, "GET", f"/v2/models/{tuning.model}/config")
    if config["max_batch_size"] < 1:
        raise RequestError(f"--tune: {tuning.model} takes whole inputs of one size: there are no batches to tune")
    return int(config["max_batch_size"])
