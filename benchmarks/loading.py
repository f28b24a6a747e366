"""How long an engine takes from its file to its first answer, beside reading the same bytes.

Run: ``python -m benchmarks.loading [--model resnet50] [--threads 2] [--repeats 7]``. Every repeat is a process of its
own; the file is in the page cache, as after a copy. "Reading" is reading the whole file into memory once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import onnx

from benchmarks.machine import load_average
from benchmarks.models import MODELS

STEADY_RUNS = 20


def measure(engine: Path, inputs: Path, threads: int) -> dict[str, float]:
    """Milliseconds of each part; numpy and fusee are imported before the clock starts."""
    import fusee

    with np.load(inputs) as saved:
        feeds = dict(saved)
    start = perf_counter()
    engine.read_bytes()
    read = perf_counter()
    session = fusee.load(engine).session(threads=threads)
    loaded = perf_counter()
    session.run(feeds)
    answered = perf_counter()
    steady: list[float] = []
    for _ in range(STEADY_RUNS):
        begin = perf_counter()
        session.run(feeds)
        steady.append(perf_counter() - begin)
    parts = {
        "reading": read - start,
        "load": loaded - read,
        "first answer": answered - read,
        "one inference": median(steady),
    }
    return {name: 1e3 * seconds for name, seconds in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loading")
    parser.add_argument("--model", default="resnet50", choices=list(MODELS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--child", nargs=2, metavar=("ENGINE", "INPUTS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(measure(Path(given.child[0]), Path(given.child[1]), given.threads)))
        return
    with tempfile.TemporaryDirectory() as folder:
        _repeat(Path(folder), given.model, given.threads, given.repeats)


def _repeat(folder: Path, name: str, threads: int, repeats: int) -> None:
    model, engine, inputs = folder / f"{name}.onnx", folder / f"{name}.fusee", folder / "inputs.npz"
    onnx.save(MODELS[name].build(1), model)
    np.savez(inputs, allow_pickle=False, **MODELS[name].inputs(0, 1))
    subprocess.run([sys.executable, "-m", "fusee", "build", str(model), "-o", str(engine), "-q"], check=True)
    print(f"{name}, {threads} thread(s), engine of {engine.stat().st_size / 2**20:.0f} MiB, load {load_average():.2f}")
    command = [
        sys.executable,
        "-m",
        "benchmarks.loading",
        "--threads",
        str(threads),
        "--child",
        str(engine),
        str(inputs),
    ]
    found = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(repeats)]
    rows = {part: [f[part] for f in found] for part in found[0]}
    rows["first answer beyond reading and one inference"] = [
        f["first answer"] - f["reading"] - f["one inference"] for f in found
    ]
    for part, times in rows.items():
        print(f"{part:45} median {median(times):7.1f} ms  ({min(times):.1f} to {max(times):.1f})")


if __name__ == "__main__":
    main()
