"""Habits that a machine can see: no loose ends, no machine's paths, one table of switches. Sizes are told only."""

from __future__ import annotations

import ast
import re
import subprocess
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE_LINES, FUNCTION_LINES = 400, 40


def files(*endings: str) -> list[Path]:
    """Files of the repository with these endings: what git tracks, or every file where this is no git checkout."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    found = [ROOT / name for name in done.stdout.split("\0") if name] if done.returncode == 0 else []
    found = found or [p for p in ROOT.rglob("*") if not any(x.startswith(".") for x in p.relative_to(ROOT).parts)]
    return [p for p in found if p.suffix in endings and p.is_file()]


SOURCE = files(".py")
TEXT = [*SOURCE, *files(".md", ".toml", ".yml", ".yaml", ".txt", ".sh")]
LOOSE_END = re.compile(r"\b(TODO|FIXME|XXX)\b|raise NotImplementedError")
MACHINE_PATH = re.compile(r"(?<![\w.])/(home|Users|root|work|opt)/\w")


@pytest.mark.parametrize(("what", "pattern"), [("loose ends", LOOSE_END), ("a machine's paths", MACHINE_PATH)])
def test_there_are_no(what: str, pattern: re.Pattern[str]):
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in TEXT
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == [], what


def test_only_the_table_of_switches_reads_the_environment():
    found = [
        str(path.relative_to(ROOT / "src"))
        for path in SOURCE
        if path.is_relative_to(ROOT / "src") and re.search(r"os\.(environ|getenv)\b", path.read_text())
    ]
    # The compiler's and the peers' child processes are given an environment; they decide nothing by it.
    given = {"fusee/kernels/cpu/compile.py", "fusee/peers/process.py"}
    assert set(found) - given == {"fusee/base/switches.py", "assay/settings.py"}


def test_sizes_are_told():
    """Files and functions beyond the habit's size, as a warning: a room that outgrows it usually holds two ideas."""
    large = [f"{p.name} has {n} lines" for p in SOURCE if (n := len(p.read_text().splitlines())) > FILE_LINES]
    for path in SOURCE:
        if not path.is_relative_to(ROOT / "src"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and (n := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES:
                large.append(f"{path.name}: {node.name} has {n} lines")
    if large:
        warnings.warn("larger than the habit: " + "; ".join(large), stacklevel=1)
