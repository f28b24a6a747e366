"""Both networks as files, with weights that nobody trained: to try what is around them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from assay.networks.compare import compare_network
from assay.networks.graph import Array, Stored
from assay.networks.photo import photo_network, random_weights


def narrowed(weights: Mapping[str, Array]) -> dict[str, Stored]:
    """The weights as they are stored: matrices and kernels in 16 bits, biases as they are."""
    return {name: w.astype(np.float16) if w.ndim > 1 else w for name, w in weights.items()}


def write_untrained(models: Path, seed: int = 0) -> None:
    """Writes ``photo.onnx`` and ``compare.onnx`` into the folder, which is made."""
    models.mkdir(parents=True, exist_ok=True)
    onnx.save(photo_network(narrowed(random_weights(seed))), models / "photo.onnx")
    onnx.save(compare_network(), models / "compare.onnx")
