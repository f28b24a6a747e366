"""docs/assay.md is true: its commands run as written and in order, its Python works, its figures are the code's."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer.main
from benchmarks.assay.ports import free_port

from assay.cases import Scope, Verdict
from assay.cli import application
from assay.judging import calibrate, write_calibration
from assay.judging.calibration import most_errors
from assay.references.enrolment import FEWEST_ITEMS
from assay.settings import Settings
from assay.web.table import OPERATIONS
from assay.web.webhooks import MOST_ATTEMPTS, TIMEOUT_S, retry_delay_s, signature

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/assay.md").read_text()
COMMANDS = "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
PREAMBLE = "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"
"""Left to itself, bash goes on after a command that failed."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As the repository has it, where the page begins."""
    models = tmp_path / "models/assay"
    shutil.copytree(ROOT / "models/assay", models)
    if not (models / "calibration.json").exists():
        digest = hashlib.sha256((models / "photo.onnx").read_bytes()).hexdigest()
        genuine, altered = ([0.01 * n for n in range(200)], [4 + 0.1 * n for n in range(200)])
        write_calibration(models / "calibration.json", calibrate(genuine, altered, [*genuine, *altered], digest))
    return tmp_path


@pytest.mark.slow
def test_every_command_runs_as_written(folder: Path) -> None:
    for tool in ("bash", "curl"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    port = free_port()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "ASSAY_PORT": str(port)}
    script = PREAMBLE + COMMANDS.replace("localhost:8080", f"127.0.0.1:{port}")
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=540, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    said = done.stdout.splitlines()
    assert said.count("NOT CONSISTENT") == 2, "the verdict, and the one that two people agreed on"
    assert said.count("the same result, byte for byte") == 2
    assert {"True", "90", "queued", "https://hooks.example.com/assay"} <= set(said)
    assert json.loads((folder / "report.json").read_text())["result"]["claim"]["model"] == "Wren 24"
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF")


def test_the_webhooks_receiver_knows_what_comes_from_us() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "docs/assay.md", "exec"), names)
    is_from_assay = names["is_from_assay"]
    assert callable(is_from_assay)
    now, body = int(time.time()), b'{"event":"case.reported"}'

    def headers(timestamp: int, secret: str) -> dict[str, str]:
        return {"Assay-Timestamp": str(timestamp), "Assay-Signature": signature(secret, timestamp, body)}

    assert is_from_assay(headers(now, "secret"), body, "secret")
    assert not is_from_assay(headers(now, "other"), body, "secret")
    assert not is_from_assay(headers(now, "secret"), body + b" ", "secret")
    assert not is_from_assay(headers(now - 400, "secret"), body, "secret")


def test_figures_are_those_of_the_code() -> None:
    settings = Settings(Path())
    assert f"at least {FEWEST_ITEMS} items" in PAGE
    assert (most_errors(148, 0.02, 0.95), most_errors(149, 0.02, 0.95)) == (-1, 0)
    assert (most_errors(58, 0.05, 0.95), most_errors(59, 0.05, 0.95)) == (-1, 0)
    assert "at least 59 altered and 149 genuine cases" in PAGE
    assert f"within {TIMEOUT_S:.0f} seconds" in PAGE
    assert 20 < sum(retry_delay_s(n) for n in range(MOST_ATTEMPTS)) / 3600 < 28, "about a day"
    for name in re.findall(r"`((?:most|requests|upload)_\w+)`", PAGE):
        assert hasattr(settings, name)


def test_every_verdict_and_scope_is_told() -> None:
    for verdict in Verdict:
        assert f"| {verdict.value} |" in PAGE
    for scope in Scope:
        assert f"`{scope.value}`" in PAGE


def test_operations_that_are_named_are_there() -> None:
    named = set(re.findall(r"`(GET|POST|PATCH|PUT|DELETE) (/\S+)`", PAGE))
    assert named
    assert named <= {(operation.method, operation.path) for operation in OPERATIONS}


def test_what_curl_asks_for_is_there() -> None:
    templates = {re.sub(r"\{\w+\}", "[^/]+", operation.path) for operation in OPERATIONS} | {"/openapi.json"}
    asked = re.findall(r"\$URL(/[^\s?\"]+)", COMMANDS)
    assert len(asked) > 20
    assert [path for path in asked if not any(re.fullmatch(template, path) for template in templates)] == []


def test_commands_that_are_run_have_these_options() -> None:
    commands: dict[str, Any] = vars(typer.main.get_command(application()))["commands"]
    run = re.findall(r"^(?:KEY=\$\()?assay (\w+)(.*)$", COMMANDS, re.MULTILINE)
    assert {"init", "draw", "enroll", "serve", "calibrate", "verify", "rerun"} == {name for name, _ in run}
    for name, rest in run:
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"(?<=\s)--[a-z-]+", rest)) <= options


def test_the_tests_that_stand_for_the_guarantees_are_there() -> None:
    named = re.findall(r"`((?:\w+/)?test_\w+\.py)`", (ROOT / "docs/assay-design.md").read_text())
    assert len(named) > 10
    assert [name for name in named if not (ROOT / "tests/assay" / name).is_file()] == []


def test_what_contributors_are_sent_to_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text[text.index("## Add to Assay") : text.index("## Style")]
    paths = re.findall(r"`([\w/]+(?:\.py|\.html|/))`", section)
    assert len(paths) > 10
    assert [path for path in paths if not any((base / path).exists() for base in (ROOT / "src/assay", ROOT))] == []
