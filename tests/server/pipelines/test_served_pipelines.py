"""Pipelines in a real server: a decoupled one over a stream, and files that are none."""

from __future__ import annotations

from pathlib import Path
from queue import Queue
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest

from fusee.server.app import serving
from fusee.server.settings import Settings

grpc = pytest.importorskip("tritonclient.grpc", reason="asks through Triton's client")
http = pytest.importorskip("tritonclient.http", reason="asks through Triton's client")

COUNTDOWN = """
from collections.abc import Iterator
from typing import Annotated

import numpy as np

from fusee.server.pipelines import Array, Call, tensor

Number = Annotated[Array, tensor("INT32", 1)]


def run(call: Call, start: Number) -> Iterator[Number]:
    for number in range(start[0], 0, -1):
        yield np.array([number], np.int32)
"""


def asked(client: Any) -> Any:
    given = client.InferInput("start", [1], "INT32")
    given.set_data_from_numpy(np.array([3], np.int32))
    return given


def test_each_answer_is_a_response(tmp_path: Path):
    (tmp_path / "countdown/1").mkdir(parents=True)
    (tmp_path / "countdown/1/pipeline.py").write_text(COUNTDOWN)
    settings = Settings((tmp_path,), http_port=0, grpc_port=0, metrics_port=0, allow_python_models=True)
    answers: Queue[Any] = Queue()
    with serving(settings) as ports:
        with http.InferenceServerClient(f"127.0.0.1:{ports.http}") as client:
            assert client.get_model_config("countdown")["model_transaction_policy"] == {"decoupled": True}
            with pytest.raises(Exception, match="gives several responses to a request"):
                client.infer("countdown", [asked(http)])
        with grpc.InferenceServerClient(f"127.0.0.1:{ports.grpc}") as client:
            client.start_stream(lambda result, error: answers.put(error or result))
            client.async_stream_infer("countdown", [asked(grpc)], enable_empty_final_response=True)
            results = [answers.get(timeout=30) for _ in range(4)]
            client.stop_stream()
        with urlopen(f"http://127.0.0.1:{ports.metrics}/metrics") as answer:
            metrics = answer.read().decode()
    assert 'nv_inference_first_response_histogram_ms_count{model="countdown",version="1"} 1' in metrics
    assert [r.as_numpy("output").tolist() for r in results[:3]] == [[3], [2], [1]]
    final = [r.get_response().parameters["triton_final_response"].bool_param for r in results]
    assert final == [False, False, False, True]


@pytest.mark.parametrize("config", ['backend: "python"', ""])
def test_files_for_tritons_python_backend_are_refused_by_name(tmp_path: Path, config: str):
    (tmp_path / "other/1").mkdir(parents=True)
    (tmp_path / "other/1/model.py").write_text("raise SystemExit")
    (tmp_path / "other/config.pbtxt").write_text(config)
    settings = Settings((tmp_path,), http_port=0, grpc_port=None, metrics_port=None, allow_python_models=True)
    with serving(settings) as ports, http.InferenceServerClient(f"127.0.0.1:{ports.http}") as client:
        (found,) = client.get_model_repository_index()
    assert "other/1/model.py: is for Triton's Python backend, whose files are not run here" in found["reason"]
