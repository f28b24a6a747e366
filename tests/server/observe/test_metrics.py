"""The metrics page says what the records say, in a form that Prometheus's own parsers read."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from fusee.server.door import DoorCounts
from fusee.server.observe.exposition import Exemplar, Family, Kind, Sample, exposition
from fusee.server.observe.machine import Process
from fusee.server.observe.metrics import families, pages, render
from fusee.server.observe.sources import Sources
from fusee.server.operations import Scope
from fusee.server.statistics import Histogram, ModelStatistics

TRITON_NAMES = {
    # What Triton 2.51 prints for a CPU model; the last two come with newer releases and with decoupled models.
    "nv_inference_request_success": "counter",
    "nv_inference_request_failure": "counter",
    "nv_inference_count": "counter",
    "nv_inference_exec_count": "counter",
    "nv_inference_request_duration_us": "counter",
    "nv_inference_queue_duration_us": "counter",
    "nv_inference_compute_input_duration_us": "counter",
    "nv_inference_compute_infer_duration_us": "counter",
    "nv_inference_compute_output_duration_us": "counter",
    "nv_inference_pending_request_count": "gauge",
    "nv_cpu_utilization": "gauge",
    "nv_cpu_memory_total_bytes": "gauge",
    "nv_cpu_memory_used_bytes": "gauge",
    "nv_model_load_duration_secs": "gauge",
    "nv_inference_first_response_histogram_ms": "histogram",
}
LABELS = {"model": "digits", "version": "3"}


def parsed(sources: Sources) -> dict[str, Any]:
    return {f.name: f for f in parse_text(render(sources).body.decode())}


def keyed(sample: Any) -> tuple[str, tuple[tuple[str, str], ...]]:
    """A sample's name and labels. The parser of plain text adds to counters the _total that Triton's have not."""
    name = sample.name.removesuffix("_total") if sample.name.startswith("nv_") else sample.name
    return name, tuple(sorted(sample.labels.items()))


def values(sources: Sources) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {keyed(s): s.value for f in parse_text(render(sources).body.decode()) for s in f.samples}


def test_tritons_names_and_types(model: Any):
    model.config.model_transaction_policy.decoupled = True
    lines = render(Sources(lambda: [model])).body.decode().splitlines()
    types = dict(line.split()[2:] for line in lines if line.startswith("# TYPE nv_"))
    assert types == TRITON_NAMES


def test_triton_counts_in_microseconds(model: Any):
    found = values(Sources(lambda: [model]))
    labels = tuple(sorted(LABELS.items()))
    assert found["nv_inference_request_success", labels] == 4
    assert found["nv_inference_count", labels] == 8
    assert found["nv_inference_exec_count", labels] == 2
    assert found["nv_inference_request_duration_us", labels] == 37_000
    assert found["nv_inference_queue_duration_us", labels] == 400
    assert found["nv_inference_compute_input_duration_us", labels] == 40
    assert found["nv_inference_compute_output_duration_us", labels] == 80
    assert found["nv_inference_compute_infer_duration_us", labels] == 37_000 - 4 * (50 + 100 + 10 + 20)
    assert found["nv_inference_pending_request_count", labels] == 1
    assert found["nv_model_load_duration_secs", labels] == 0.75


def test_the_four_reasons_are_there_before_anything_fails(stand: Any):
    found = parsed(Sources(lambda: [stand("fresh", "1")]))["nv_inference_request_failure"].samples
    assert {s.labels["reason"]: s.value for s in found} == {"REJECTED": 0, "CANCELED": 0, "BACKEND": 0, "OTHER": 0}


def test_only_decoupled_models_have_first_responses(model: Any):
    assert "nv_inference_first_response_histogram_ms" not in parsed(Sources(lambda: [model]))


def test_durations_are_histograms_in_seconds(model: Any):
    samples = parsed(Sources(lambda: [model]))["fusee_request_duration_seconds"].samples
    buckets = {float(s.labels["le"]): s.value for s in samples if s.name.endswith("_bucket")}
    assert buckets[0.001] == 1
    assert buckets[0.0025] == 2
    assert buckets[0.005] == 3
    assert buckets[0.025] == 3
    assert buckets[0.05] == buckets[math.inf] == 4
    (total,) = [s.value for s in samples if s.name.endswith("_sum")]
    assert total == pytest.approx(0.037)


def test_why_requests_failed(model: Any):
    (sample,) = parsed(Sources(lambda: [model]))["fusee_rejected"].samples
    assert (sample.labels, sample.value) == ({**LABELS, "reason": "overloaded"}, 1)


def test_readiness_comes_from_the_index(model: Any):
    index = [
        {"name": "digits", "version": "3", "state": "READY", "reason": ""},
        {"name": "broken", "version": "1", "state": "UNAVAILABLE", "reason": "no engine"},
        {"name": "idle"},
    ]
    samples = parsed(Sources(lambda: [model], index=lambda: index))["fusee_model_ready"].samples
    found = {(s.labels["model"], s.labels["version"]): s.value for s in samples}
    assert found == {("digits", "3"): 1, ("broken", "1"): 0, ("idle", ""): 0}


def test_doors_shadows_and_processes(comparison: Any):
    doors = DoorCounts()
    for code in (200, 200, 503):
        doors.answered("http", code)
    doors.answered("grpc", 0)
    gone = Process("engine", pid=2**31 - 1, restarts=2)
    found = values(Sources(tuple, comparisons=lambda: [comparison], processes=lambda: [gone], doors=doors))
    assert found["fusee_door_requests_total", (("code", "200"), ("door", "http"))] == 2
    assert found["fusee_door_requests_total", (("code", "503"), ("door", "http"))] == 1
    assert found["fusee_door_requests_total", (("code", "0"), ("door", "grpc"))] == 1
    canary = (("model", "digits"), ("role", "canary"), ("version", "4"))
    assert found["fusee_routed_requests_total", canary] == 10
    shadow = (("model", "digits"), ("version", "5"))
    assert found["fusee_shadow_requests_total", shadow] == 100
    assert found["fusee_shadow_dropped_total", shadow] == 3
    assert found["fusee_shadow_failed_total", shadow] == 1
    output = (("model", "digits"), ("output", "logits"), ("version", "5"))
    assert found["fusee_shadow_compared_total", output] == 99
    assert found["fusee_shadow_max_abs_difference", output] == 0.25
    assert found["fusee_shadow_max_rel_difference", output] == math.inf
    assert found["fusee_shadow_argmax_agreement_ratio", output] == 0.98
    assert found["fusee_process_restarts_total", (("process", "engine"),)] == 2
    assert ("fusee_process_open_fds", (("process", "engine"),)) not in found


def test_this_process_and_the_machine():
    found = values(Sources(tuple))
    ours = (("process", "server"),)
    assert found["fusee_process_resident_memory_bytes", ours] > 1e6
    assert found["fusee_process_open_fds", ours] > 2
    assert 0 < found["nv_cpu_memory_used_bytes", ()] < found["nv_cpu_memory_total_bytes", ()]
    assert 0 <= found["nv_cpu_utilization", ()] <= 1


def test_openmetrics_has_the_same_values(model: Any):
    sources = Sources(lambda: [model], processes=tuple)
    text = render(sources, openmetrics=True)
    assert text.content_type.startswith("application/openmetrics-text")
    ours = {
        keyed(s): s.value
        for f in parse_openmetrics(text.body.decode())
        for s in f.samples
        if not s.name.startswith("nv_cpu")
    }
    assert ours == {k: v for k, v in values(sources).items() if not k[0].startswith("nv_cpu")}


def test_openmetrics_shows_a_traced_request_in_its_bucket(model: Any):
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    place = model.statistics.request_s.bounds.index(0.05)
    exemplars = {("digits", "3"): {place: Exemplar(trace_id, 0.03, 1_700_000_000.5)}}
    sources = Sources(lambda: [model], exemplars=lambda: exemplars)
    text = render(sources, openmetrics=True).body.decode()
    family = {f.name: f for f in parse_openmetrics(text)}["fusee_request_duration_seconds"]
    (found,) = [s for s in family.samples if s.exemplar]
    assert found.labels["le"] == "0.05"
    assert (found.exemplar.labels, found.exemplar.value) == ({"trace_id": trace_id}, 0.03)
    assert trace_id not in render(sources).body.decode(), "the plain format has no exemplars"


def test_pages_need_the_read_scope(model: Any):
    text, openmetrics = pages(Sources(lambda: [model]))
    assert (text.path, text.scope) == ("/metrics", Scope.READ)
    assert asyncio.run(text.render()).content_type.startswith("text/plain")
    assert asyncio.run(openmetrics.render()).body.endswith(b"# EOF\n")


def test_every_family_is_explained(model: Any):
    names = [f.name for f in families(Sources(lambda: [model]))]
    assert len(names) == len(set(names))
    assert all(f.help and f.name.startswith(("nv_", "fusee_")) for f in families(Sources(lambda: [model])))


@given(st.text(), st.floats(allow_nan=False))
def test_any_label_and_value_come_back(label: str, value: float):
    family = Family("a_gauge", Kind.GAUGE, "Says\nthings \\ so", [Sample({"model": label}, value)])
    (found,) = parse_text(exposition([family]).decode())
    assert (found.samples[0].labels, found.samples[0].value) == ({"model": label}, value)


@given(st.lists(st.floats(0, 100), max_size=40))
def test_buckets_are_cumulative(durations: list[float]):
    statistics = ModelStatistics()
    for duration in durations:
        statistics.request_s.add(duration)
    family = Family("a_seconds", Kind.HISTOGRAM, "Times", [Sample({}, statistics.request_s)])
    for parse in (parse_text, parse_openmetrics):
        (found,) = parse(exposition([family], openmetrics=parse is parse_openmetrics).decode())
        for sample in found.samples:
            if "le" in sample.labels:
                assert sample.value == sum(d <= float(sample.labels["le"]) * (1 + 1e-12) for d in durations)


def test_an_empty_family_is_not_printed():
    assert exposition([Family("a", Kind.GAUGE, "b", []), Family("c", Kind.HISTOGRAM, "d", [])]) == b"\n"
    assert Histogram((1.0,)).counts == [0, 0]
