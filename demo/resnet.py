"""Part two: ResNet-50, what optimisation makes of it, and its latency beside ONNX Runtime's."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
import onnx
from benchmarks.models import MODELS

from demo.saying import OUT, built, say, title
from fusee.peers.race import race
from fusee.peers.statistics import ratio_of_rounds
from fusee.runtime.cores import default_threads

MODEL = "resnet50"
ROUNDS = 7


def show() -> None:
    """Builds the network and times it in turns with ONNX Runtime, each in a process of its own."""
    title("ResNet-50 (our own graph, seeded weights): how fast is the engine?")
    say("writing the model")
    OUT.mkdir(exist_ok=True)
    model = OUT / f"{MODEL}.onnx"
    onnx.save(MODELS[MODEL].build(1), model)
    engine = built(model)
    if find_spec("onnxruntime") is None:
        say("  ONNX Runtime is not installed (pip install 'fusee[bench]'), so there is nothing to compare with")
        return
    inputs = MODELS[MODEL].inputs(0, 1)
    for threads in sorted({1, default_threads()}):
        _race(engine, model, inputs, threads)


def _race(engine: Path, model: Path, inputs: Mapping[str, np.ndarray], threads: int) -> None:
    say(f"  {threads} thread(s): {ROUNDS} rounds of Fusee and ONNX Runtime in turn")
    ours, theirs = race(model, engine, inputs, ("onnxruntime",), threads, ROUNDS)
    for result in (ours, theirs):
        if result.failure:
            say(f"    {result.peer} failed: {result.failure}")
            return
    ratio = ratio_of_rounds(theirs.medians_us, ours.medians_us)
    say(
        f"    Fusee {median(ours.medians_us) / 1e3:.2f} ms, ONNX Runtime {median(theirs.medians_us) / 1e3:.2f} ms; "
        f"ratio {ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f} over the rounds; above 1, Fusee is faster)"
    )
    say(f"    largest difference of the outputs: {ours.difference or 0:.1e} of their range")
