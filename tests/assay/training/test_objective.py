"""The losses ask for what they say, and training measures distances as the compare engine does."""

from __future__ import annotations

import numpy as np
import pytest

import fusee
from assay.networks.compare import compare_network

torch = pytest.importorskip("torch", reason="training is torch's; install it with pip install torch")

from assay.training.evaluation import Cases, auroc, coreset, judge_by_bank  # noqa: E402
from assay.training.nuisance import photographed, restyled  # noqa: E402
from assay.training.objective import (  # noqa: E402
    contrastive_loss,
    nearest_distances,
    place_loss,
    rank_loss,
    smooth_maximum,
    smoothed,
)


def unit(*shape: int):
    torch.manual_seed(1)
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)


def test_distances_are_those_of_the_compare_engine():
    patches, bank = unit(2, 1600, 64), unit(300, 64).flip(1)
    grid = smoothed(nearest_distances(patches, bank.expand(2, -1, -1)))
    found = fusee.build(compare_network()).run({"patches": patches.numpy(), "bank": bank.numpy()})

    np.testing.assert_allclose(smooth_maximum(grid).numpy(), found["score"], rtol=1e-4)
    np.testing.assert_allclose(grid.amax((1, 2)).numpy(), found["distance_map"].max((1, 2)), rtol=0.05)


def test_place_loss_wants_altered_places_far_and_forgives_their_rim():
    altered = torch.zeros(1, 40, 40)
    altered[0, 10:14, 10:14] = 1
    right = torch.full((1, 40, 40), -9.0)
    right[0, 10:14, 10:14] = 9
    rim = right.clone()
    rim[0, 8:16, 8:16] = 9

    assert place_loss(right, altered) < 1e-3
    assert place_loss(rim, altered) < 1e-3
    assert place_loss(-right, altered) > 8


def test_rank_loss_compares_within_a_task():
    altered = torch.tensor([[False, True], [False, True]])
    assert rank_loss(torch.tensor([[0.0, 20.0], [100.0, 120.0]]), altered) < 1e-3
    assert rank_loss(torch.tensor([[20.0, 0.0], [100.0, 120.0]]), altered) > 9


def test_contrastive_loss_is_least_where_labels_agree():
    label = torch.tensor([0, 0, 1, 1])
    apart = torch.eye(4)[[0, 0, 1, 1]]
    assert contrastive_loss(apart, label) < 0.01
    assert contrastive_loss(apart, torch.tensor([0, 1, 0, 1])) > 5


def test_a_mask_moves_with_its_photo():
    torch.manual_seed(3)
    photos, altered = torch.zeros(8, 3, 320, 320), torch.zeros(8, 1, 80, 80)
    photos[:, :, 80:160, 200:280] = 1
    altered[:, :, 20:40, 50:70] = 1
    photos, altered = photographed(*restyled(photos, altered, 4))

    bright = torch.nn.functional.adaptive_avg_pool2d(photos.mean(1, keepdim=True), 80)
    for light, mask in zip(bright.flatten(1), altered.flatten(1), strict=True):
        assert light[mask > 0.9].min() > light[mask < 0.1].mean() + 0.2


def test_auroc_counts_ties_half():
    assert auroc([0, 1], [2, 3]) == 1
    assert auroc([2, 3], [0, 1]) == 0
    assert auroc([1], [1]) == 0.5
    assert np.isnan(auroc([], [1]))


def test_coreset_takes_what_is_farthest():
    rows = torch.tensor([[[1.0, 0], [0.99, 0.14], [0, 1], [-1, 0], [0.98, 0.2]]])
    assert coreset(rows, 3).tolist() == [[0, 3, 2]]


def test_a_strange_photo_is_judged_strange(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("assay.training.evaluation.BANK_ROWS", 64)
    cases = Cases(3, 1, 1)
    patches = unit(16, 64)[torch.arange(1600) % 16].expand(5, 6, -1, -1).clone()
    patches += 0.02 * torch.randn_like(patches)
    patches[4, 2, 40 * 5 + 6] *= -1
    judged = judge_by_bank(torch.nn.functional.normalize(patches, dim=-1), cases)

    assert judged.scores.shape == (2, 6)
    assert judged.scores[1, 2] > judged.scores[0, 2]
