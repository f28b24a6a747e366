"""Part two: ResNet-50, what optimisation makes of it, and its latency beside ONNX Runtime's."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
import onnx
from benchmarks.models import MODELS
from benchmarks.peer_process import PeerProcess
from benchmarks.statistics import difference, ratio_of_rounds, round_medians

from demo.saying import OUT, built, say, title

MODEL = "resnet50"
ROUNDS, TURN_S = 7, 0.4


def show() -> None:
    """Builds the network and times it in turns with ONNX Runtime, each in a process of its own."""
    title("ResNet-50 (our own graph, seeded weights): how fast is the engine?")
    OUT.mkdir(exist_ok=True)
    model, inputs = OUT / f"{MODEL}.onnx", OUT / f"{MODEL}-inputs.npz"
    say("writing the model")
    onnx.save(MODELS[MODEL].build(1), model)
    np.savez(inputs, allow_pickle=False, **MODELS[MODEL].inputs(0, 1))
    engine = built(model)
    if find_spec("onnxruntime") is None:
        say("  ONNX Runtime is not installed (pip install 'fusee[bench]'), so there is nothing to compare with")
        return
    for threads in (1, 2):
        _race(engine, model, inputs, threads)


def _race(engine: Path, model: Path, inputs: Path, threads: int) -> None:
    """Both in turns, so that a change of the machine's mood falls on both."""
    ours, theirs = (
        PeerProcess(name, path, threads, inputs) for name, path in (("fusee", engine), ("onnxruntime", model))
    )
    try:
        apart = difference(theirs.outputs(OUT / "theirs.npz"), ours.outputs(OUT / "ours.npz"))
        runs = max(3, round(TURN_S * 1e6 / median(theirs.run(3))))
        rounds = [(ours.run(runs), theirs.run(runs)) for _ in range(ROUNDS)]
    finally:
        ours.close()
        theirs.close()
    our_medians, their_medians = (round_medians(times) for times in zip(*rounds, strict=True))
    ratio = ratio_of_rounds(their_medians, our_medians)
    say(
        f"  {threads} thread(s): Fusee {median(our_medians) / 1e3:.2f} ms, "
        f"ONNX Runtime {median(their_medians) / 1e3:.2f} ms; ratio {ratio.median:.2f} "
        f"({ratio.low:.2f} to {ratio.high:.2f} over {ROUNDS} rounds; above 1, Fusee is faster); "
        f"largest difference of the outputs {apart:.1e} of their range"
    )
