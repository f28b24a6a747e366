"""Generated pages are up to date, links lead somewhere, and what the README and the tour say is run."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from docs.pages import FOLDER, PAGES

ROOT = FOLDER.parent
WRITTEN = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(FOLDER.glob("*.md"))]


@pytest.mark.parametrize(("name", "page"), PAGES, ids=[name for name, _ in PAGES])
def test_generated_pages_are_up_to_date(name: str, page: Callable[[], str]):
    assert (FOLDER / name).read_text() == page(), f"docs/{name} is out of date: run make docs"


@pytest.mark.parametrize("path", WRITTEN, ids=lambda p: p.name)
def test_links_lead_to_files(path: Path):
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text())
    missing = [t for t in targets if "://" not in t and not (path.parent / t).exists()]
    assert not missing


def test_every_dependency_is_explained():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = [*project["dependencies"], *[d for group in project["optional-dependencies"].values() for d in group]]
    names = {re.split(r"[<>=\[]", d)[0] for d in required if not d.startswith("fusee")}
    page = (FOLDER / "dependencies.md").read_text().lower()
    assert [n for n in sorted(names) if n.lower() not in page] == []


def test_the_tour_runs(capsys: pytest.CaptureFixture[str]):
    runpy.run_path(str(FOLDER / "tour.py"), run_name="__main__")
    printed = capsys.readouterr().out
    for said in ("1. ", "relu", "fused", "FusedPackedMatMul", "the same numbers: True"):
        assert said in printed


def readme_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_readmes_commands_run(tmp_path: Path):
    """The block on one's own model, as written, in a folder with a model of that name."""
    (tmp_path / "model.onnx").write_bytes((ROOT / "models/digits/digits.onnx").read_bytes())
    (tmp_path / "digits_test.npz").write_bytes((ROOT / "models/digits/digits_test.npz").read_bytes())
    (block,) = (b for b in readme_blocks("sh") if "fusee build model.onnx" in b)  # tests/server runs those on serving
    lines = [line for line in block.splitlines() if line.startswith("fusee ")]
    assert lines
    for line in lines:
        words = line.split("#")[0].split()[1:]
        if "openvino" in line:
            continue  # measuring is for the reader; tests/cli tests the command
        done = subprocess.run(
            [sys.executable, "-m", "fusee", *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"


def test_the_readmes_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("model.onnx").write_bytes((ROOT / "models/digits/digits.onnx").read_bytes())
    (code,) = readme_blocks("python")
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert Path("model.fusee").is_file()
    assert names["logits"].shape == (8, 10)  # pyright: ignore
