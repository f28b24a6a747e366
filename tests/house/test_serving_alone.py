"""A machine that only serves has no compiler: the server runs without one, and says so where one is asked for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest

import fusee

DIGITS = Path(__file__).parents[2] / "models/digits"
WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(("onnx", "llvmlite", "onnxruntime", "openvino", "torch")))
from fusee.cli import main
sys.argv = ["fusee", *sys.argv[1:]]
main()
"""


def _command(*words: str) -> Sequence[str]:
    return [sys.executable, "-c", WITHOUT, *words]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    with fusee.build(DIGITS / "digits.onnx") as engine:
        engine.save(folder / "digits.fusee")
    return folder


def test_engines_are_served(repository: Path):
    command = _command("serve", str(repository), "--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        printed = "".join(iter(process.stdout.readline, "ready\n"))
        found = re.search(r"HTTP on (\S+)", printed)
        assert found, printed
        with np.load(DIGITS / "digits_test.npz") as held_out:
            image, label = held_out["images"][:1], held_out["labels"][0]
        tensor = {"name": "image", "shape": image.shape, "datatype": "FP32", "data": image.ravel().tolist()}
        with urlopen(
            Request(f"http://{found[1]}/v2/models/digits/infer", json.dumps({"inputs": [tensor]}).encode())
        ) as answer:
            assert int(np.argmax(json.load(answer)["outputs"][0]["data"])) == label
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("command", ["build", "compare"])
def test_what_needs_the_compiler_says_so(command: str):
    done = subprocess.run(_command(command, "model.onnx", "-o", "x"), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"fusee {command} needs the package 'onnx'" in done.stderr
    assert "pip install 'fusee[cpu]'" in done.stderr
