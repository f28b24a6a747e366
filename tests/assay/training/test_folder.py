"""Folders of photographs: what is read, and what is refused in which words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assay.training.folder import TrainingError, read_folder
from assay.training.train import Backbone, train
from assay.views import View


def photograph_items(folder: Path, items: int, views: tuple[str, ...] = ("logo",)) -> None:
    random = np.random.default_rng(items)
    for item in range(items):
        for view in views:
            path = folder / "acme" / "tote" / f"{item:04}" / f"{view}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(path)


def test_photos_are_grouped_by_model_and_view(tmp_path: Path):
    photograph_items(tmp_path, 5, ("logo", "lining"))
    found = read_folder(tmp_path)

    assert found.pixels.shape == (10, 320, 320, 3)
    assert {(g.brand, g.model, g.view, len(g.rows)) for g in found.groups} == {
        ("acme", "tote", View.LOGO, 5),
        ("acme", "tote", View.LINING, 5),
    }


def test_an_empty_folder_is_told_what_belongs_there(tmp_path: Path):
    with pytest.raises(TrainingError, match=r"no photos; expected <brand>/<model>/<item>/<view>.jpg"):
        read_folder(tmp_path)


def test_too_few_items_are_named(tmp_path: Path):
    photograph_items(tmp_path, 3)
    with pytest.raises(TrainingError, match=r"tote: logo was photographed of 3 items; expected 4 or more"):
        read_folder(tmp_path)


def test_an_unknown_view_is_named(tmp_path: Path):
    photograph_items(tmp_path, 4, ("front",))
    with pytest.raises(TrainingError, match=r"'front' is no view; expected .* exterior, logo"):
        read_folder(tmp_path)


def test_a_damaged_photo_is_named(tmp_path: Path):
    photograph_items(tmp_path, 4)
    (tmp_path / "acme" / "tote" / "0002" / "logo.jpg").write_bytes(b"\xff\xd8\xff broken")
    with pytest.raises(TrainingError, match=r"0002/logo\.jpg: "):
        read_folder(tmp_path)


def test_without_torch_it_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("assay.training.train.find_spec", lambda _: None)
    with pytest.raises(TrainingError, match=r"needs PyTorch, .* `pip install torch`"):
        train(tmp_path, tmp_path / "out", backbone=Backbone.VIT)


def test_a_start_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("assay.training.train.find_spec", lambda _: True)
    with pytest.raises(TrainingError, match=r"expected the trained photo network to go on from: models/assay"):
        train(tmp_path, tmp_path / "out")
