"""A real server, asked over HTTP and gRPC: its pages tell of what it answered."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from fusee.server.app import Ports, serving
from fusee.server.settings import Settings

DIGITS = Path(__file__).parents[3] / "models" / "digits" / "digits.onnx"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one model. Its engine is built once, and found by the servers that come after."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / "digits" / "1").mkdir(parents=True)
    shutil.copy(DIGITS, folder / "digits" / "1" / "model.onnx")
    return folder


@pytest.fixture(scope="module")
def ports(repository: Path) -> Iterator[Ports]:
    """A server that has answered five requests and refused two."""
    with serving(Settings((repository,), http_port=0, grpc_port=0, metrics_port=0)) as found:
        ask(found)
        yield found


def ask(ports: Ports) -> None:
    pixels = np.zeros((2, 1, 8, 8), np.float32)
    for client, module, times in (
        (http_client.InferenceServerClient(f"127.0.0.1:{ports.http}"), http_client, 3),
        (grpc_client.InferenceServerClient(f"127.0.0.1:{ports.grpc}"), grpc_client, 2),
    ):
        tensor = module.InferInput("image", pixels.shape, "FP32").set_data_from_numpy(pixels)
        for _ in range(times):
            client.infer("digits", [tensor])
        with pytest.raises(module.InferenceServerException, match="nowhere"):
            client.infer("nowhere", [tensor])
        client.close()


def page(ports: Ports, path: str) -> tuple[str, str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{ports.metrics}{path}", timeout=10) as answer:
        return answer.headers["content-type"], answer.read().decode()


def samples(ports: Ports) -> dict[tuple[str, ...], float]:
    """Values by name and label values, the latter in the order of the labels' names."""
    families = text_string_to_metric_families(page(ports, "/metrics/openmetrics")[1])
    return {(s.name, *(v for _, v in sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def test_metrics_tell_of_every_request(ports: Ports):
    found = samples(ports)
    assert found["nv_inference_request_success", "digits", "1"] == 5
    assert found["nv_inference_count", "digits", "1"] == 10
    assert found["fusee_request_duration_seconds_count", "digits", "1"] == 5
    assert found["fusee_model_ready", "digits", "1"] == 1
    assert (found["fusee_door_requests_total", "200", "http"], found["fusee_door_requests_total", "404", "http"]) == (
        3, 1,
    )  # fmt: skip
    assert (found["fusee_door_requests_total", "0", "grpc"], found["fusee_door_requests_total", "5", "grpc"]) == (2, 1)
    assert found["fusee_pending_requests", "digits", "1"] == 0


def test_the_time_of_a_load_is_told(repository: Path):
    """Of the whole load, which is part of the time that the server takes to start."""
    started_s = monotonic()
    with serving(Settings((repository,), http_port=0, grpc_port=None, metrics_port=0)) as own:
        start_s = monotonic() - started_s
        found = samples(own)
    assert 0.001 < found["nv_model_load_duration_secs", "digits", "1"] < start_s


def test_looking_is_not_counted_as_asking(ports: Ports):
    before, after = samples(ports), samples(ports)
    assert {k: v for k, v in before.items() if k[0].startswith("fusee_door")} == {
        k: v for k, v in after.items() if k[0].startswith("fusee_door")
    }


def test_a_trace_goes_from_the_door_to_the_engine(tmp_path: Path, repository: Path):
    """The caller's trace goes on, and its stages lie inside the request, for HTTP and gRPC."""
    trace = tmp_path / "trace.json"
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    pixels = np.zeros((2, 1, 8, 8), np.float32)
    settings = Settings((repository,), http_port=0, grpc_port=0, metrics_port=0, trace_file=trace)
    with serving(settings) as own:
        for client, module in (
            (http_client.InferenceServerClient(f"127.0.0.1:{own.http}"), http_client),
            (grpc_client.InferenceServerClient(f"127.0.0.1:{own.grpc}"), grpc_client),
        ):
            tensor = module.InferInput("image", pixels.shape, "FP32").set_data_from_numpy(pixels)
            client.infer("digits", [tensor], headers=dict(headers))  # the HTTP client adds to them
            client.close()
        text = page(own, "/metrics/openmetrics")[1]
    assert f'trace_id="{trace_id}"' in text, "the latency histogram links to the trace"
    events = [e for e in json.loads(trace.read_text()) if e["args"]["trace_id"] == trace_id]
    requests = [e for e in events if e["name"] == "infer"]
    assert [e["args"]["parent_id"] for e in requests] == ["00f067aa0ba902b7"] * 2
    for request in requests:
        inside = [e for e in events if e["args"].get("parent_id") == request["args"]["span_id"]]
        assert [e["name"] for e in inside] == ["queue", "compute_input", "compute_infer", "compute_output"]


def test_a_trace_of_steps_tells_the_engines_kernels(tmp_path: Path, repository: Path):
    """Asked for while the server runs: each span lies inside its parent, down to the kernels."""
    trace = tmp_path / "trace.json"
    pixels = np.zeros((2, 1, 8, 8), np.float32)
    settings = Settings((repository,), http_port=0, grpc_port=0, metrics_port=0, trace_file=trace)
    with serving(settings) as own:
        for client, module in (
            (http_client.InferenceServerClient(f"127.0.0.1:{own.http}"), http_client),
            (grpc_client.InferenceServerClient(f"127.0.0.1:{own.grpc}"), grpc_client),
        ):
            client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS", "STEPS"], "trace_rate": "1"})
            tensor = module.InferInput("image", pixels.shape, "FP32").set_data_from_numpy(pixels)
            client.infer("digits", [tensor])
            client.close()
    events = {e["args"]["span_id"]: e for e in json.loads(trace.read_text())}
    for child in events.values():
        parent = events.get(child["args"].get("parent_id", ""))
        if parent is not None:
            assert parent["ts"] <= child["ts"], child
            assert child["ts"] + child["dur"] <= parent["ts"] + parent["dur"] + 0.5, child  # float microseconds
    computed = [i for i, e in events.items() if e["name"] == "compute_infer"]
    assert len(computed) == 2
    for span_id in computed:
        steps = [e for e in events.values() if e["args"].get("parent_id") == span_id]
        assert steps[0]["args"]["kernel"].startswith("FusedConv"), steps[0]
        assert sum(e["dur"] for e in steps) == pytest.approx(events[span_id]["dur"], abs=1.0)


def test_the_status_page_is_served(ports: Ports):
    kind, text = page(ports, "/status")
    assert kind == "text/html; charset=utf-8"
    assert "<title>Fusee</title>" in text
    state: Any = json.loads(page(ports, "/status.json")[1])
    (model,) = state["models"]
    assert (model["name"], model["state"], model["record"]["succeeded"]) == ("digits", "READY", 5)
    assert sum(model["record"]["request_counts"]) == 5
    assert sum(model["record"]["batches"].values()) == model["record"]["executions"]
