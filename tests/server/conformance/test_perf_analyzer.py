"""Triton's load generator measures Fusee, in each way in which it can talk to a server."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from benchmarks.serving.triton_peer import perf_analyzer

from server.conformance.clients import Addresses

REQUESTS = 40
MODES = {
    "HTTP": ("-i", "http"),
    "HTTP with JSON": ("-i", "http", "--input-tensor-format=json", "--output-tensor-format=json"),
    "gRPC": ("-i", "grpc"),
    "gRPC streams": ("-i", "grpc", "--streaming", "--async"),
    "shared memory, HTTP": ("-i", "http", "--shared-memory=system", "--output-shared-memory-size=64"),
    "shared memory, gRPC": ("-i", "grpc", "--shared-memory=system", "--output-shared-memory-size=64"),
}


@pytest.mark.triton
@pytest.mark.parametrize("mode", MODES)
def test_perf_analyzer_measures(mode: str, perf_server: Addresses, installed_triton: Path, tmp_path: Path):
    row = measured(MODES[mode], perf_server, installed_triton, tmp_path / "measured.csv")
    assert float(row["Inferences/Second"]) > 0
    assert float(row["p50 latency"]) > 0
    assert float(row["Server Queue"]) + float(row["Server Compute Infer"]) > 0, "it saw no statistics move"


def measured(mode: Sequence[str], server: Addresses, home: Path, report: Path) -> dict[str, str]:
    """The report's only row."""
    program, environment = perf_analyzer(home)
    address = server.http if "http" in mode else server.grpc
    command = [program, "-m", "simple", "-u", address, f"--request-count={REQUESTS}", "-f", report, *mode]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with report.open(newline="") as file:
        (row,) = csv.DictReader(file)
    return row
