"""The README's serving section, run as it stands, while traffic flows: nothing may fail."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from fusee.client.address import Address
from fusee.client.arrivals import Arrivals
from fusee.client.infer import PreparedRequest, ask, infer_request
from fusee.client.load import LoadReport, run_load
from fusee.client.process import server_process
from fusee.server.types import Tensor

ROOT = Path(__file__).parents[2]
RATE_PER_S = 100.0


def _commands() -> list[str]:
    """The lines of the README's block that begins by making a version 2."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (block,) = (b for b in blocks if "mkdir served/digits/2" in b)
    return [line.partition("  #")[0].strip() for line in block.splitlines() if line.strip()]


def _request(address: Address, model: str) -> PreparedRequest:
    with np.load(ROOT / "models/digits/digits_test.npz") as held_out:
        image = held_out["images"][:1]
    return infer_request(address, model, [Tensor("image", "FP32", image.shape, image)])


def _traffic(address: Address, model: str, stop: Event) -> list[LoadReport]:
    reports: list[LoadReport] = []
    while not stop.is_set():
        arrivals = Arrivals(RATE_PER_S, 0.5, seed=len(reports))
        reports.append(run_load(address, [_request(address, model)], arrivals, connections=32))
    return reports


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As a checkout where the README's first block was run, with a model more."""
    (tmp_path / "models").symlink_to(ROOT / "models")
    for name in ("digits", "steady"):
        place = tmp_path / "served" / name / "1"
        place.mkdir(parents=True)
        (place / "model.onnx").write_bytes((ROOT / "models/digits/digits.onnx").read_bytes())
    return tmp_path


def _run(command: str, folder: Path, address: Address) -> str:
    command = command.replace("localhost:8000", str(address))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_a_version_comes_and_goes_under_traffic(folder: Path):
    commands = _commands()
    assert any("unload" in c for c in commands), commands
    options = ["--model-control", "explicit", "--load-model", "*"]
    stops = {"digits": Event(), "steady": Event()}
    with server_process(folder / "served", options) as server, ThreadPoolExecutor(2) as pool:
        running = {name: pool.submit(_traffic, server.http, name, stop) for name, stop in stops.items()}
        served: list[list[str]] = []
        try:
            for command in commands:
                if "unload" in command:
                    stops["digits"].set()
                    running["digits"].result()
                _run(command, folder, server.http)
                index = ask(server.http, "POST", "/v2/repository/index", {})
                ready = [m["version"] for m in index if m["name"] == "digits" and m.get("state") == "READY"]
                served += [] if served and served[-1] == ready else [ready]
        finally:
            for stop in stops.values():
                stop.set()
        reports = [report for each in running.values() for report in each.result()]
        statistics = ask(server.http, "GET", "/v2/models/steady/stats")
    assert served == [["1"], ["2"], ["1"], []]
    statuses = {status for report in reports for status in report.statuses}
    assert statuses == {200}, json.dumps([report.statuses for report in reports])
    assert statistics["model_stats"][0]["inference_stats"]["fail"]["count"] == 0
