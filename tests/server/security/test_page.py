"""SECURITY.md: its commands run as they stand, and its tables name what there is."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path

import pytest

from fusee.cli import serve
from fusee.client.process import ServerProcess, server_process
from fusee.server.settings import Limits, Settings
from server.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "SECURITY.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=["keys", "certificates"])
def test_the_commands(block: str, tmp_path: Path) -> None:
    for tool in ("curl", "openssl"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    (tmp_path / "models").mkdir()
    names = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    shell = {**os.environ, **names}
    said = ""
    with ExitStack() as running:
        server: ServerProcess | None = None
        for line in block.strip().splitlines():
            if line.startswith("fusee serve models"):
                options = [str(tmp_path / o) if o.endswith((".json", ".pem", ".key")) else o for o in shlex.split(line)]
                server = running.enter_context(server_process(tmp_path / "models", options[3:]))
                continue
            if server is not None:
                line = line.replace("localhost:8000", f"localhost:{server.http.port}")
            done = run(f"{said}{line}", tmp_path, shell)
            assert done.returncode == 0, (line, done.stderr)
            if line.startswith("KEY="):
                said = f"{line}; "
    assert server is not None


def run(line: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True)


def test_the_tests_are_there() -> None:
    tests = ROOT / "tests"
    named = set(re.findall(r"`((?:\w+/)*test_\w+\.py)`", PAGE))
    assert len(named) > 10
    of_assay = {name for name in named if name.startswith("assay/")}
    assert of_assay
    assert [name for name in sorted(of_assay) if not (tests / name).exists()] == []
    assert [name for name in sorted(named - of_assay) if not (tests / "server" / name).exists()] == []


def test_limits_and_options_are_those_there_are() -> None:
    limits = {field.name for field in fields(Limits)}
    assert limits - {"body_bytes"} <= set(re.findall(r"`(?:Limits\.)?(\w+)`", PAGE))
    options = set(re.findall(r"--[a-z][a-z-]+", PAGE)) - {"--fail", "--user", "--cacert", "--cert", "--key"}
    given = {f"--{name.replace('_', '-')}" for name in serve.command.__annotations__}
    assert options <= given | {"--isolate"}
    assert Settings(()).limits == Limits()


def test_targets_are_those_there_are() -> None:
    (listed,) = re.findall(r"targets are ([^;:]+?):", PAGE, re.DOTALL)
    assert set(re.findall(r"\w+", listed)) - {"and"} == set(TARGETS)
