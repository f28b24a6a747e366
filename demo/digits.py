"""Part one: a small network that we trained on scans of handwritten digits, judged on scans it has never seen."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import numpy as np

import fusee
from demo.saying import built, say, title
from fusee.ir import reference
from fusee.onnx.importer import import_model

FOLDER = Path(__file__).parents[1] / "models" / "digits"


def show() -> None:
    """Builds the network and counts right answers, in the engine and in the reference interpreter."""
    title("Handwritten digits: does the engine read what the model reads?")
    model = FOLDER / "digits.onnx"
    engine = built(model)
    with np.load(FOLDER / "digits_test.npz") as held_out:
        images, labels = held_out["images"], held_out["labels"]
    with fusee.load(engine) as loaded, loaded.session(threads=1) as session:
        start = perf_counter()
        ours = session.run({"image": images})["logits"].argmax(1)
        seconds = perf_counter() - start
    expected = reference.run(import_model(model), {"image": images})["logits"].argmax(1)
    say(f"  held-out scans right: engine {_score(ours, labels)}, reference interpreter {_score(expected, labels)}")
    say(f"  all {len(labels)} in one batch in {seconds * 1e3:.1f} ms on one thread, the first run")
    if not np.array_equal(ours, expected):
        raise SystemExit("the engine and the reference disagree on some scans: this is a bug, please report it")


def _score(answers: np.ndarray, labels: np.ndarray) -> str:
    right = int((answers == labels).sum())
    return f"{right} of {len(labels)} = {right / len(labels):.4f}"
