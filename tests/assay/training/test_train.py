"""Fine-tuning on a folder, in seconds: the networks it writes run, and its imitated alterations show where they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fusee
from assay.training.train import Backbone, train

torch = pytest.importorskip("torch", reason="training is torch's; install it with pip install torch")

from assay.training.imitation import altered_in_a_place  # noqa: E402

MODELS = Path(__file__).parents[3] / "models" / "assay"


def striped(seed: int) -> np.ndarray:
    x = np.arange(96)[None] + np.arange(96)[:, None] * 0.5
    stripes = 127 + 100 * np.sin(x / 3 + seed)
    return np.repeat(stripes[:, :, None], 3, 2).astype(np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for item in range(4):
        path = tmp_path / "photos" / "acme" / "tote" / str(item) / "stitching.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(striped(item)).save(path)
    return tmp_path / "photos"


@pytest.mark.parametrize("backbone", Backbone)
def test_training_writes_networks_that_run(photos: Path, tmp_path: Path, backbone: Backbone):
    heard: list[str] = []
    start = MODELS / "photo.onnx"
    train(photos, tmp_path / "out", start, backbone, minutes=1 / 60, device="cpu", log=heard.append)

    found = fusee.build(tmp_path / "out" / "photo.onnx").run({"photo": np.zeros((1, 320, 320, 3), np.uint8)})
    assert np.isfinite(found["patches"]).all()
    assert {name: value.shape for name, value in found.items()} == {
        "patches": (1, 1600, 64),
        "embedding": (1, 128),
        "view": (1, 6),
        "view_map": (1, 40, 40),
    }
    assert "place" in heard[0]
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["groups"] == ["acme/tote/stitching: 4 photos"]
    assert (tmp_path / "out" / "compare.onnx").is_file()


def test_imitated_alterations_change_their_place_and_nothing_else():
    torch.manual_seed(5)
    photos = torch.from_numpy(np.stack([striped(s) for s in range(6)])).permute(0, 3, 1, 2).float() / 255
    photos = torch.nn.functional.interpolate(photos, (320, 320))
    found, shares = altered_in_a_place(photos)

    changed = torch.nn.functional.adaptive_avg_pool2d((found - photos).abs().amax(1, keepdim=True), 80)
    assert shares.shape == (6, 1, 80, 80)
    assert (shares.flatten(1).amax(1) > 0.9).all()
    assert changed[shares > 0.9].mean() > 10 * changed[shares < 0.01].mean()
    assert changed[shares == 0].max() < 0.06
