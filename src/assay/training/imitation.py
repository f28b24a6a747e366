"""Small alterations of genuine photographs, for training where no counterfeit was ever seen.

Each photo is deformed, patched with another of its places, or thickened, inside one soft ellipse.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from assay.training.drawing import MASK_PX

LEAST_CHANGE = 0.05  # of full scale: a place that changed by less looks as it did


def altered_in_a_place(photos: Tensor) -> tuple[Tensor, Tensor]:
    """Photos f32[N, 3, H, W] of 0..1, altered, and where that shows: shares f32[N, 1, 80, 80]."""
    count, _, height, width = photos.shape
    y, x = (torch.linspace(-1, 1, n, device=photos.device) for n in (height, width))
    base = torch.stack(torch.broadcast_tensors(x[None], y[:, None]), -1)[None]
    centre = _uniform(photos, count, -0.6, 0.6)
    region = _ellipse(base, centre, _uniform(photos, count, 0.15, 0.5))
    kinds = torch.arange(3, device=photos.device)[torch.randperm(count, device=photos.device) % 3]
    kind = kinds[:, None, None, None]
    grid = torch.where(kind == 0, _deformed(base, centre, region), _elsewhere(base, centre, region))
    moved = functional.grid_sample(photos, grid, padding_mode="reflection", align_corners=True)
    thicker = photos + region[:, None] * (_thickened(photos) - photos)
    found = torch.where(kind == 2, thicker, moved)
    return found, _where(photos, found)


def _uniform(like: Tensor, count: int, low: float, high: float) -> Tensor:
    """f32[count, 2]."""
    return torch.empty(count, 2, device=like.device).uniform_(low, high)


def _ellipse(base: Tensor, centre: Tensor, radii: Tensor) -> Tensor:
    """f32[N, H, W]: 1 inside, 0 outside, soft in between."""
    away = ((base - centre[:, None, None]) / radii[:, None, None]).square().sum(-1)
    return torch.sigmoid(8 * (1 - away))


def _deformed(base: Tensor, centre: Tensor, region: Tensor) -> Tensor:
    """Stretched by 10 to 25 % one way or the other, and turned by up to 12 degrees."""
    count = len(centre)
    sign = torch.where(_uniform(base, count, -1, 1) > 0, 1.0, -1.0)
    stretch = sign * _uniform(base, count, 0.1, 0.25)
    turn = _uniform(base, count, -0.2, 0.2)[:, :1]
    offset = base - centre[:, None, None]
    across = torch.stack([-offset[..., 1], offset[..., 0]], -1)
    return base + region[..., None] * (offset * stretch[:, None, None] + across * turn[:, None, None])


def _elsewhere(base: Tensor, centre: Tensor, region: Tensor) -> Tensor:
    """Another place of the same photo, half of it or more away."""
    count = len(centre)
    shift = torch.where(centre > 0, -1.0, 1.0) * _uniform(base, count, 0.5, 0.9)
    return base + (region > 0.5)[..., None] * shift[:, None, None]


def _thickened(photos: Tensor) -> Tensor:
    """Bright strokes grow, or dark ones, by two pixels on each side."""
    grown = functional.max_pool2d(photos, 5, 1, 2)
    shrunk = -functional.max_pool2d(-photos, 5, 1, 2)
    bright = torch.rand(len(photos), 1, 1, 1, device=photos.device) < 0.5
    return torch.where(bright, grown, shrunk)


def _where(before: Tensor, after: Tensor) -> Tensor:
    change = (before - after).abs().amax(1, keepdim=True)
    near = functional.max_pool2d(change, 5, 1, 2) > LEAST_CHANGE
    return functional.adaptive_avg_pool2d(near.float(), MASK_PX)
