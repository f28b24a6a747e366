"""The networks in models/assay: those that the code writes, small enough, and the classifier's map adds up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import fusee
from assay.networks.compare import compare_network

MODELS = Path(__file__).parents[3] / "models" / "assay"
PHOTOS = np.random.default_rng(7).integers(0, 256, (2, 320, 320, 3), dtype=np.uint8)


def test_the_stored_compare_network_is_the_one_that_the_code_writes():
    assert onnx.load(MODELS / "compare.onnx") == compare_network()


def test_all_networks_together_are_small():
    assert sum(path.stat().st_size for path in MODELS.glob("*.onnx")) < 10_000_000


def test_the_classifiers_map_adds_up_to_its_score():
    model = onnx.load(MODELS / "classifier.onnx")
    bias = next(numpy_helper.to_array(t) for t in model.graph.initializer if t.name == "altered.bias")
    found = fusee.build(model).run({"photo": PHOTOS})

    parts = found["heat"].astype(np.float64).sum((1, 2)) + bias
    np.testing.assert_allclose(parts, found["score"], rtol=1e-4, atol=1e-4)
    assert found["heat"].std((1, 2)).min() > 0
