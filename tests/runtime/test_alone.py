"""The run half needs base, engine, numpy and nothing of the compile half."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from runtime.small_engines import engine, linear_expected, linear_plan, weights

SOURCE = Path(__file__).parents[2] / "src"
SCRIPT = """
import sys

BLOCKED = {"onnx", "llvmlite", "onnxruntime"} | {
    f"fusee.{room}" for room in ("ir", "ops", "onnx", "passes", "precision", "kernels", "planner", "build", "cli")
}

class Block:
    def find_spec(self, name, path=None, target=None):
        if name in BLOCKED or any(name.startswith(b + ".") for b in BLOCKED):
            raise ImportError(f"{name} is of the compile half")

sys.meta_path.insert(0, Block())
import numpy as np
from fusee.runtime.engine import load

x = np.load(sys.argv[2])
with load(sys.argv[1]).session(2) as session:
    np.save(sys.argv[3], session.run({"x": x})["y"])
allowed = {"numpy", "ml_dtypes", "fusee"} | set(sys.stdlib_module_names)
print(sorted({name.split(".")[0] for name in sys.modules} - allowed - {"__main__"}))
"""


def test_an_engine_runs_without_the_compile_half(tmp_path: Path):
    x = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    engine(linear_plan(), weights()).save(tmp_path / "linear.fusee")
    np.save(tmp_path / "x.npy", x)
    files = [str(tmp_path / name) for name in ("linear.fusee", "x.npy", "y.npy")]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-S", "-c", SCRIPT, *files]
    environment["PYTHONPATH"] = os.pathsep.join([str(SOURCE), *[p for p in sys.path if p.endswith("-packages")]])
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), linear_expected(x, weights()), rtol=1e-5)
