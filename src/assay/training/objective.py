"""What training asks of the features: that altered places lie far from the bank of genuine patches, all others near.

The distances are those of the compare network, so that what is trained is what decides.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from assay.networks.compare import SHARPNESS, SMOOTHING_RADIUS, smoothing_kernel
from assay.networks.photo import GRID

GENUINE_UNTIL = 0.02  # share of a place's pixels that may be altered while it counts as genuine
ALTERED_FROM = 0.3  # share from which it counts as altered; less where the photo has no place altered that much


def nearest_distances(patches: Tensor, bank: Tensor) -> Tensor:
    """1 - cosine to the nearest row: patches [T, P, 64], bank [T, M, 64] -> [T, P].

    Which row is nearest is found in 16 bits on a GPU; how near it is, and the gradient, in 32.
    """
    coarse = torch.bfloat16 if patches.is_cuda else torch.float32
    with torch.no_grad():
        nearest = (patches.to(coarse) @ bank.to(coarse).transpose(1, 2)).argmax(2)
    matched = bank.gather(1, nearest[:, :, None].expand_as(patches))
    return 1 - (patches * matched).sum(2)


def smoothed(distances: Tensor) -> Tensor:
    """[N, 1600] -> [N, 40, 40] after the Gaussian."""
    grid = distances.reshape(-1, 1, GRID, GRID)
    kernel = torch.from_numpy(smoothing_kernel()).to(grid)
    return functional.conv2d(functional.pad(grid, (SMOOTHING_RADIUS,) * 4, mode="replicate"), kernel)[:, 0]


def smooth_maximum(grid: Tensor) -> Tensor:
    """[N, 40, 40] -> [N]."""
    flat = grid.flatten(1)
    return (flat * (SHARPNESS * flat).softmax(1)).sum(1)


class Verdicts(nn.Module):
    """Turns distances into log odds of alteration: of places and of photos."""

    def __init__(self) -> None:
        super().__init__()
        self.log_slopes = nn.Parameter(torch.tensor([3.0, 3.0]))
        self.thresholds = nn.Parameter(torch.tensor([0.2, 0.3]))

    def places(self, grid: Tensor) -> Tensor:
        return self.log_slopes[0].exp() * (grid - self.thresholds[0])

    def photos(self, scores: Tensor) -> Tensor:
        return self.log_slopes[1].exp() * (scores - self.thresholds[1])


def place_loss(log_odds: Tensor, altered: Tensor) -> Tensor:
    """Cross-entropy of places [N, 40, 40] against the altered share of each, both kinds weighing the same.

    Places at the rim of what was altered may fall either way and are left out.
    """
    most = altered.flatten(1).amax(1).clamp(min=1e-6)[:, None, None]
    positive = altered >= torch.minimum(0.5 * most, torch.tensor(ALTERED_FROM, device=altered.device))
    near = functional.max_pool2d(altered[:, None], 5, 1, 2)[:, 0]
    negative = near < GENUINE_UNTIL
    losses = functional.binary_cross_entropy_with_logits(log_odds, positive.float(), reduction="none")
    return 0.5 * (_mean(losses, positive) + _mean(losses, negative))


def rank_loss(log_odds: Tensor, altered: Tensor) -> Tensor:
    """Log odds [T, Q] and bool[T, Q]: in each task every altered photo is to score above every genuine one."""
    margins = log_odds[:, :, None] - log_odds[:, None, :]
    pairs = altered[:, :, None] & ~altered[:, None, :]
    return _mean(functional.softplus(-margins), pairs)


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


def contrastive_loss(embedding: Tensor, label: Tensor, temperature: float = 0.1) -> Tensor:
    """Supervised contrastive loss (Khosla et al., NeurIPS 2020) over unit vectors [N, C] and labels i64[N]."""
    itself = torch.eye(len(label), dtype=torch.bool, device=label.device)
    logits = (embedding @ embedding.T / temperature).masked_fill(itself, float("-inf"))
    partners = (label[:, None] == label[None]) & ~itself
    log_share = (logits - logits.logsumexp(1, keepdim=True)).masked_fill(itself, 0)
    return -((log_share * partners).sum(1) / partners.sum(1).clamp(min=1)).mean()
