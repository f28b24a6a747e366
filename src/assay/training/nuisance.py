"""What a photograph may do to a genuine item: moved, lit, tinted, blurred and noisy, drawn anew at every step.

Works on whole batches where they lie, so that a GPU never waits for it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

BLUR_RADIUS = 3


def photographed(photos: Tensor, altered: Tensor, strength: float = 1.0) -> tuple[Tensor, Tensor]:
    """Photos f32[N, 3, H, W] of 0..1 and shares f32[N, 1, h, w], moved alike; the photos also lit and blurred."""
    photos, altered = moved(photos, altered, strength)
    return noisy(blurred(lit(photos, strength), strength), strength).clamp(0, 1), altered


def restyled(photos: Tensor, altered: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """Each ``group`` of photos mirrored, turned and recoloured in its own way: as photos of a style nobody drew."""
    photo_groups, altered_groups = list(photos.split(group)), list(altered.split(group))
    for i, choice in enumerate(torch.randint(0, 16, (len(photo_groups),)).tolist()):
        if choice >= 8:
            continue
        photo_groups[i] = _turned(photo_groups[i], choice)[:, torch.randperm(3, device=photos.device)]
        altered_groups[i] = _turned(altered_groups[i], choice)
    return torch.cat(photo_groups), torch.cat(altered_groups)


def _turned(x: Tensor, choice: int) -> Tensor:
    x = x.flip(3) if choice & 1 else x
    x = x.flip(2) if choice & 2 else x
    return x.transpose(2, 3) if choice & 4 else x


def _between(count: int, low: float, high: float, like: Tensor) -> Tensor:
    return torch.empty(count, device=like.device).uniform_(low, high)


def moved(photos: Tensor, altered: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Turned by up to 1.5 degrees, scaled by 2 %, shifted by 3 %; half of the photos stay as they are."""
    count = len(photos)
    some = (_between(count, 0, 1, photos) < 0.5).float() * strength
    turn = _between(count, -1, 1, photos) * math.radians(1.5) * some
    scale = 1 + _between(count, -0.02, 0.02, photos) * some
    shift = torch.stack([_between(count, -0.06, 0.06, photos) * some for _ in range(2)], 1)
    cosine, sine = turn.cos() * scale, turn.sin() * scale
    rows = [torch.stack([cosine, -sine, shift[:, 0]], 1), torch.stack([sine, cosine, shift[:, 1]], 1)]
    matrix = torch.stack(rows, 1)
    return _sampled(photos, matrix, "reflection"), _sampled(altered, matrix, "zeros")


def _sampled(x: Tensor, matrix: Tensor, beyond: str) -> Tensor:
    grid = functional.affine_grid(matrix, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid.to(x.dtype), padding_mode=beyond, align_corners=False)


def lit(photos: Tensor, strength: float) -> Tensor:
    """Exposure, tint, gamma, contrast and a light that falls off to one side."""
    count, _, height, width = photos.shape
    gain = (_between(count, -0.3, 0.3, photos) * strength).exp()[:, None]
    tint = (_between(count * 3, -0.08, 0.08, photos) * strength).exp().reshape(count, 3)
    slope = _between(count * 2, -0.18, 0.18, photos).reshape(count, 2, 1, 1) * strength
    y, x = (torch.linspace(-1, 1, n, device=photos.device) for n in (height, width))
    light = 1 + slope[:, 0] * y[:, None] + slope[:, 1] * x[None]
    gamma = (_between(count, -0.2, 0.2, photos) * strength).exp()[:, None, None, None]
    contrast = (_between(count, -0.15, 0.15, photos) * strength).exp()[:, None, None, None]
    photos = photos.clamp(min=1e-3) ** gamma * (gain * tint)[:, :, None, None] * light[:, None]
    middle = photos.mean((1, 2, 3), keepdim=True)
    return ((photos - middle) * contrast + middle).to(memory_format=torch.channels_last)


def blurred(photos: Tensor, strength: float) -> Tensor:
    """A Gaussian of up to 0.9 pixels for half of the photos."""
    count, channels, height, width = photos.shape
    deviation = (_between(count, -0.9, 0.9, photos) * strength).clamp(min=0.05)
    steps = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1, device=photos.device)
    line = (-0.5 * (steps[None] / deviation[:, None]) ** 2).exp()
    line = (line / line.sum(1, keepdim=True)).repeat_interleave(channels, 0).to(photos.dtype)
    rows = photos.contiguous().reshape(1, count * channels, height, width)
    rows = functional.conv2d(rows, line[:, None, None], padding=(0, BLUR_RADIUS), groups=len(line))
    rows = functional.conv2d(rows, line[:, None, :, None], padding=(BLUR_RADIUS, 0), groups=len(line))
    return rows.reshape(photos.shape)


def noisy(photos: Tensor, strength: float) -> Tensor:
    """Noise of a standard deviation of up to 2.5 % of full scale."""
    deviation = _between(len(photos), 0, 0.025, photos)[:, None, None, None] * strength
    return photos + deviation * torch.randn_like(photos)
