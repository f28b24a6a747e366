"""The commands of docs/serving.md, run as they stand."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusee.server.app import serving
from fusee.server.listening import Ports
from fusee.server.settings import Settings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "serving.md").read_text()
COMMANDS = [
    line.partition("  #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]
DECOUPLED = {"nv_inference_first_response_histogram_ms"}  # there is no such model here


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "digits" / "1").mkdir(parents=True)
    shutil.copy(ROOT / "models/digits/digits.onnx", folder / "digits" / "1" / "model.onnx")
    settings = Settings((folder,), http_port=0, grpc_port=None, metrics_port=0, trace_file=folder / "trace.json")
    with serving(settings) as found:
        yield found


@pytest.fixture(scope="module")
def metrics(ports: Ports) -> str:
    """After a request that is refused."""
    wrong = '{"inputs": [{"name": "image", "shape": [1], "datatype": "FP32", "data": [0]}]}'
    assert "unexpected shape" in _run(f"curl -s localhost:{ports.http}/v2/models/digits/infer -d '{wrong}'")
    return _run(f"curl -sf localhost:{ports.metrics}/metrics")


def _run(command: str) -> str:
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True, timeout=30).stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_answered(ports: Ports, command: str):
    command = command.replace("localhost:8000", f"localhost:{ports.http}")
    assert _run(command.replace("localhost:8002", f"localhost:{ports.metrics}"))


@pytest.mark.parametrize("name", sorted({*re.findall(r"^\| `(\w+)`", PAGE, re.MULTILINE)} - DECOUPLED))
def test_a_name_is_on_the_metrics_page(metrics: str, name: str):
    assert f"# TYPE {name.removesuffix('_total')}" in metrics
