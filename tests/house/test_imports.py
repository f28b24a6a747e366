"""The direction of imports, and that the run half works with the compile half deleted."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

import fusee

ROOT = Path(__file__).parents[2]
RUN_HALF = ("__init__.py", "base", "engine", "runtime")
RUN = """
import sys
import numpy as np
import fusee
with fusee.load(sys.argv[1]).session(threads=2) as session, np.load(sys.argv[2]) as held_out:
    np.save(sys.argv[3], session.run({"image": held_out["images"]})["logits"])
print(fusee.__file__, *sorted(n for n in sys.modules if n.split(".")[0] in ("onnx", "llvmlite", "typer")))
"""


def test_import_rules_hold():
    command = [Path(sys.executable).parent / "lint-imports"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_run_half_alone(tmp_path: Path):
    """A folder with only base, engine and runtime loads an engine and gives the answers of both halves."""
    for name in RUN_HALF:
        source = ROOT / "src/fusee" / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        (tmp_path / "fusee").mkdir(exist_ok=True)
        copy(source, tmp_path / "fusee" / name)
    for package in ("numpy", "ml_dtypes"):
        folder = Path(sys.modules[package].__file__ or "").parent
        (tmp_path / package).symlink_to(folder)
        if (libraries := folder.with_name(f"{package}.libs")).is_dir():
            (tmp_path / libraries.name).symlink_to(libraries)
    held_out = ROOT / "models/digits/digits_test.npz"
    with fusee.build(ROOT / "models/digits/digits.onnx") as engine, np.load(held_out) as arrays:
        engine.save(tmp_path / "digits.fusee")
        expected = engine.run({"image": arrays["images"]})["logits"]
    (tmp_path / "alone.py").write_text(f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{RUN}")
    files = [str(tmp_path / name) for name in ("alone.py", "digits.fusee")]
    # -I and -S: no other folder, no installed package, nothing from the environment
    command = [sys.executable, "-I", "-S", *files, str(held_out), str(tmp_path / "logits.npy")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "fusee/__init__.py")]
    np.testing.assert_array_equal(np.load(tmp_path / "logits.npy"), expected)
