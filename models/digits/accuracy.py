"""Prints how many held-out scans the digits network reads right, in ONNX Runtime or in a built Fusee engine.

Run: ``python models/digits/accuracy.py`` or ``python models/digits/accuracy.py digits.fusee``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent


def main() -> None:
    """Answers every held-out scan in one batch and counts."""
    with np.load(FOLDER / "digits_test.npz") as held_out:
        images, labels = held_out["images"], held_out["labels"]
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER / "digits.onnx"
    logits = _in_fusee(path, images) if path.suffix == ".fusee" else _in_onnxruntime(path, images)
    right = int((logits.argmax(1) == labels).sum())
    print(f"{path.name}: {right} of {len(labels)} held-out scans right: {right / len(labels):.4f}")


def _in_onnxruntime(path: Path, images: np.ndarray) -> np.ndarray:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path)).run(["logits"], {"image": images})[0]


def _in_fusee(path: Path, images: np.ndarray) -> np.ndarray:
    import fusee

    return fusee.load(path).session(threads=1).run({"image": images})["logits"]


if __name__ == "__main__":
    main()
