"""CONTRIBUTING's recipe for an op, done as written on a copy of the repository, and the tests it promises."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = ("src", "tests/ops", "tests/kernels", "pyproject.toml")
STEP = re.compile(
    r"```python\n# (?P<path>\S+), (?P<place>above|below|at the end)(?:: (?P<mark>[^\n]+))?\n(?P<code>.*?)```", re.S
)


def steps() -> list[re.Match[str]]:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return list(STEP.finditer(text[text.index("## Add an op") : text.index("## Add a kernel")]))


def follow(step: re.Match[str], root: Path) -> None:
    """Put the step's code where its first line says."""
    path = root / step["path"]
    lines = path.read_text().splitlines(keepends=True)
    if step["place"] == "at the end":
        path.write_text("".join([*lines, "\n\n", step["code"]]))
        return
    (at,) = [i for i, line in enumerate(lines) if line.startswith(step["mark"])]
    code = [step["code"]] if step["place"] == "below" else [step["code"], "\n\n"]
    at += step["place"] == "below"
    path.write_text("".join([*lines[:at], *code, *lines[at:]]))


def test_adding_an_op(tmp_path: Path):
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, tmp_path / name)
    assert len(steps()) == 4
    for step in steps():
        follow(step, tmp_path)
    tests = ["tests/ops/test_ops.py", "tests/kernels/test_samples.py"]
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-k", "squareplus or Squareplus", *tests]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "test_op_is_documented[squareplus] PASSED" in done.stdout
    assert done.stdout.count("test_infer_tells_what_reference_gives[squareplus") == 5
    assert re.search(r"test_samples\[avx2-Squareplus\] PASSED", done.stdout)
