"""The digits network: the committed file reads the committed held-out scans as its README says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from benchmarks.models.measure import parameter_count

FOLDER = Path(__file__).parents[2] / "models" / "digits"


def test_the_file_is_small_valid_and_open_in_its_batch() -> None:
    model = onnx.load(FOLDER / "digits.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert (FOLDER / "digits.onnx").stat().st_size < 400_000
    assert parameter_count(model) == 48_818
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert [node.op_type for node in model.graph.node].count("BatchNormalization") == 6


def test_held_out_scans_are_real_pixels_of_all_ten_digits() -> None:
    datasets = pytest.importorskip(
        "sklearn.datasets", reason="the scans come with scikit-learn: pip install scikit-learn"
    )
    with np.load(FOLDER / "digits_test.npz") as held_out:
        images, labels = held_out["images"], held_out["labels"]
    scans = datasets.load_digits()
    known = {scan.tobytes(): label for scan, label in zip(scans.images, scans.target, strict=True)}
    assert images.shape == (450, 1, 8, 8)
    assert images.dtype == np.float32
    assert [known[(16.0 * image[0]).astype(np.float64).tobytes()] for image in images] == labels.tolist()
    assert set(labels.tolist()) == set(range(10))


def test_accuracy_is_what_the_readme_says() -> None:
    onnxruntime = pytest.importorskip(
        "onnxruntime", reason="accuracy is measured in ONNX Runtime: pip install onnxruntime"
    )
    with np.load(FOLDER / "digits_test.npz") as held_out:
        images, labels = held_out["images"], held_out["labels"]
    logits = onnxruntime.InferenceSession(str(FOLDER / "digits.onnx")).run(["logits"], {"image": images})[0]
    accuracy = float((logits.argmax(1) == labels).mean())
    stated = re.search(r"held-out scans right: \*\*([0-9.]+)\*\*", (FOLDER / "README.md").read_text())
    assert stated is not None
    assert accuracy == pytest.approx(float(stated[1]), abs=5e-5)
    assert accuracy >= 0.98
