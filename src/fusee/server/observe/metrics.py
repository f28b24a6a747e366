"""The metrics page: Triton's names, so that its dashboards and autoscalers work unchanged, and ours in base units.

Names and help texts of the ``nv_`` families are those that Triton prints; they count microseconds. A family that has
nothing to tell here (GPUs, response cache, pinned memory) is not printed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from fusee.server.door import Content, Page
from fusee.server.observe.exposition import (
    OPENMETRICS,
    TEXT,
    Family,
    Kind,
    Labels,
    Sample,
    exposition,
)
from fusee.server.observe.machine import memory, process_use
from fusee.server.observe.sources import Sources, queue_length
from fusee.server.operations import Scope
from fusee.server.plane import Servable
from fusee.server.statistics import Histogram, ModelStatistics
from fusee.server.types import Json


class PerModel(NamedTuple):
    """A family with one sample for each model version."""

    name: str
    kind: Kind
    help: str
    value: Callable[[ModelStatistics], float | Histogram]


def _microseconds(stage: str) -> Callable[[ModelStatistics], float]:
    return lambda statistics: getattr(statistics, stage).ns // 1000


TRITON = (
    PerModel(
        "nv_inference_request_success",
        Kind.COUNTER,
        "Number of successful inference requests, all batch sizes",
        lambda s: s.success.count,
    ),
    PerModel(
        "nv_inference_count",
        Kind.COUNTER,
        "Number of inferences performed (does not include cached requests)",
        lambda s: s.inference_count,
    ),
    PerModel(
        "nv_inference_exec_count",
        Kind.COUNTER,
        "Number of model executions performed (does not include cached requests)",
        lambda s: s.execution_count,
    ),
    PerModel(
        "nv_inference_request_duration_us",
        Kind.COUNTER,
        "Cumulative inference request duration in microseconds (includes cached requests)",
        _microseconds("success"),
    ),
    PerModel(
        "nv_inference_queue_duration_us",
        Kind.COUNTER,
        "Cumulative inference queuing duration in microseconds (includes cached requests)",
        _microseconds("queue"),
    ),
    PerModel(
        "nv_inference_compute_input_duration_us",
        Kind.COUNTER,
        "Cumulative compute input duration in microseconds (does not include cached requests)",
        _microseconds("compute_input"),
    ),
    PerModel(
        "nv_inference_compute_infer_duration_us",
        Kind.COUNTER,
        "Cumulative compute inference duration in microseconds (does not include cached requests)",
        _microseconds("compute_infer"),
    ),
    PerModel(
        "nv_inference_compute_output_duration_us",
        Kind.COUNTER,
        "Cumulative inference compute output duration in microseconds (does not include cached requests)",
        _microseconds("compute_output"),
    ),
    PerModel(
        "nv_model_load_duration_secs",
        Kind.GAUGE,
        "Model load time in seconds",
        lambda s: s.load_s,
    ),
)
OURS = (
    PerModel("fusee_queue_seconds", Kind.HISTOGRAM, "Time that answered requests waited", lambda s: s.queue_s),
    PerModel(
        "fusee_compute_seconds",
        Kind.HISTOGRAM,
        "Time from an instance taking a request to its outputs",
        lambda s: s.compute_s,
    ),
    PerModel("fusee_batch_size", Kind.HISTOGRAM, "Items that ran together", lambda s: s.batch_size),
    PerModel("fusee_pending_requests", Kind.GAUGE, "Requests accepted and not yet answered", lambda s: s.pending),
)
SHADOW = (
    ("fusee_shadow_requests_total", "Answered requests that a shadow version got a copy of", "requests"),
    ("fusee_shadow_dropped_total", "Requests that were not copied, since the shadow had enough to do", "dropped"),
    ("fusee_shadow_failed_total", "Copies that the shadow version did not answer", "failed"),
)
SHADOW_OUTPUTS = (
    ("fusee_shadow_compared_total", Kind.COUNTER, "Outputs of a shadow that were compared", "compared"),
    ("fusee_shadow_mismatched_total", Kind.COUNTER, "Of those, outputs of another shape or type", "mismatched"),
    ("fusee_shadow_max_abs_difference", Kind.GAUGE, "Largest absolute difference so far", "max_abs_difference"),
    ("fusee_shadow_max_rel_difference", Kind.GAUGE, "Largest relative difference so far", "max_rel_difference"),
)


def render(sources: Sources, openmetrics: bool = False) -> Content:
    """All metrics as text; OpenMetrics has exemplars where requests were traced."""
    body = exposition(families(sources), openmetrics)
    return Content(OPENMETRICS if openmetrics else TEXT, body)


def pages(sources: Sources) -> tuple[Page, ...]:
    """``/metrics``, and as OpenMetrics, which Prometheus needs for exemplars, ``/metrics/openmetrics``."""

    async def text() -> Content:
        return render(sources)

    async def openmetrics() -> Content:
        return render(sources, openmetrics=True)

    return Page("/metrics", Scope.READ, text), Page("/metrics/openmetrics", Scope.READ, openmetrics)


def families(sources: Sources) -> Iterator[Family]:
    """All there is to tell now."""
    servables = tuple(sources.servables())
    yield from (_per_model(row, servables) for row in TRITON)
    yield _failures(servables)
    yield from _queues(servables)
    yield _first_responses(servables)
    yield _request_durations(servables, sources)
    yield from (_per_model(row, servables) for row in OURS)
    yield _rejections(servables)
    yield _readiness(sources.index())
    yield from _comparisons(sources.comparisons())
    yield _door_requests(sources)
    yield from _machine(sources)
    yield from _processes(sources)


def _labels(servable: Servable) -> dict[str, str]:
    return {"model": servable.name, "version": servable.version}


def _per_model(row: PerModel, servables: Iterable[Servable]) -> Family:
    samples = [Sample(_labels(s), row.value(s.statistics)) for s in servables]
    return Family(row.name, row.kind, row.help, samples)


def _failures(servables: Iterable[Servable]) -> Family:
    """Triton prints each of its four reasons from the start, at 0."""
    samples = [
        Sample({**_labels(s), "reason": reason}, count)
        for s in servables
        for reason, count in s.statistics.failures.items()
    ]
    name = "nv_inference_request_failure"
    return Family(name, Kind.COUNTER, "Number of failed inference requests, all batch sizes", samples)


def _queues(servables: Iterable[Servable]) -> Iterator[Family]:
    samples = [Sample(_labels(s), queue_length(s)) for s in servables]
    triton = "Instantaneous number of pending requests awaiting execution per-model."
    yield Family("nv_inference_pending_request_count", Kind.GAUGE, triton, samples)
    yield Family("fusee_queue_depth", Kind.GAUGE, "Requests that no instance has taken yet", samples)


def _first_responses(servables: Iterable[Servable]) -> Family:
    decoupled = (s for s in servables if s.config.model_transaction_policy.decoupled)
    samples = [Sample(_labels(s), s.statistics.first_response_ms) for s in decoupled]
    name = "nv_inference_first_response_histogram_ms"
    return Family(name, Kind.HISTOGRAM, "Duration from request to first response in milliseconds", samples)


def _request_durations(servables: Iterable[Servable], sources: Sources) -> Family:
    exemplars = sources.exemplars()
    samples = [Sample(_labels(s), s.statistics.request_s, exemplars.get((s.name, s.version), {})) for s in servables]
    name = "fusee_request_duration_seconds"
    return Family(name, Kind.HISTOGRAM, "Time from a request's arrival to its answer, of answered requests", samples)


def _rejections(servables: Iterable[Servable]) -> Family:
    samples = [
        Sample({**_labels(s), "reason": reason}, count)
        for s in servables
        for reason, count in sorted(s.statistics.rejections.items())
    ]
    return Family("fusee_rejected_total", Kind.COUNTER, "Requests that were not answered, by our reason", samples)


def _readiness(index: Iterable[Json]) -> Family:
    samples = [
        Sample({"model": entry["name"], "version": entry.get("version", "")}, int(entry.get("state") == "READY"))
        for entry in index
    ]
    return Family("fusee_model_ready", Kind.GAUGE, "1 when the model version answers requests, else 0", samples)


def _comparisons(comparisons: Iterable[Json]) -> Iterator[Family]:
    found = tuple(comparisons)
    routed = [
        Sample({"model": c["model"], "version": c[f"{role}_version"], "role": role}, c[f"{role}_requests"])
        for c in found
        for role in ("stable", "canary")
        if f"{role}_version" in c
    ]
    meaning = "Requests without a version, by the version that answered them"
    yield Family("fusee_routed_requests_total", Kind.COUNTER, meaning, routed)
    shadows = [({"model": c["model"], "version": c["shadow_version"]}, c["shadow"]) for c in found if "shadow" in c]
    for name, meaning, field in SHADOW:
        samples = [Sample(labels, shadow[field]) for labels, shadow in shadows]
        yield Family(name, Kind.COUNTER, meaning, samples)
    outputs = [({**labels, "output": name}, o) for labels, s in shadows for name, o in s["outputs"].items()]
    for name, kind, meaning, field in SHADOW_OUTPUTS:
        yield Family(name, kind, meaning, [Sample(labels, _unbounded(output[field])) for labels, output in outputs])
    agreeing = [Sample(labels, o["argmax_agreement"]) for labels, o in outputs if o["argmax_agreement"] is not None]
    meaning = "Share of rows whose largest element is in the same place"
    yield Family("fusee_shadow_argmax_agreement_ratio", Kind.GAUGE, meaning, agreeing)


def _unbounded(value: float | None) -> float:
    """A difference; JSON's null is one without bound."""
    return math.inf if value is None else value


def _door_requests(sources: Sources) -> Family:
    samples = [Sample({"door": door, "code": str(code)}, count) for (door, code), count in sources.doors.items()]
    return Family("fusee_door_requests_total", Kind.COUNTER, "Requests by door and status code", samples)


def _machine(sources: Sources) -> Iterator[Family]:
    ram = memory()
    used = sources.processors.utilization()
    yield _single("nv_cpu_utilization", "CPU utilization rate [0.0 - 1.0]", used)
    yield _single("nv_cpu_memory_total_bytes", "CPU total memory (RAM), in bytes", ram.total_bytes)
    yield _single("nv_cpu_memory_used_bytes", "CPU used memory (RAM), in bytes", ram.used_bytes)


def _single(name: str, meaning: str, value: float) -> Family:
    return Family(name, Kind.GAUGE, meaning, [Sample({}, value)])


def _processes(sources: Sources) -> Iterator[Family]:
    processes = tuple(sources.processes())
    found: list[tuple[Labels, tuple[float, float, float]]] = []
    for process in processes:
        use = process_use(process.pid)
        if use is not None:
            found.append(({"process": process.name}, (use.resident_bytes, use.cpu_s, use.open_files)))
    rows = (
        ("fusee_process_resident_memory_bytes", Kind.GAUGE, "Memory that a process of the server holds"),
        ("fusee_process_cpu_seconds_total", Kind.COUNTER, "CPU time that a process of the server took"),
        ("fusee_process_open_fds", Kind.GAUGE, "Open file descriptors of a process of the server"),
    )
    for place, (name, kind, meaning) in enumerate(rows):
        yield Family(name, kind, meaning, [Sample(labels, values[place]) for labels, values in found])
    restarts = [Sample({"process": p.name}, p.restarts) for p in processes]
    yield Family("fusee_process_restarts_total", Kind.COUNTER, "Times that a process was started again", restarts)
