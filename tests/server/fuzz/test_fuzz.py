"""Every parser of what comes from outside, fuzzed for a moment from a fixed seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from server.fuzz.targets import TARGETS

TESTS = Path(__file__).parents[2]
BUDGET = ("-seed=1", "-runs=1500", "-max_total_time=2")


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_taken(name: str) -> None:
    for seed in TARGETS[name].seeds():
        TARGETS[name].run(seed)


def test_changed_seeds(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris is made for some versions of Python only")
    path = os.pathsep.join(map(str, (TESTS.parent / "src", TESTS, TESTS / "onnx", TESTS.parent)))
    command = [sys.executable, "-m", "server.fuzz.explore", "all", *BUDGET]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stderr.count("Done ") == len(TARGETS)
