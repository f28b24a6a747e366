"""Real inputs for the shared models: photographs prepared the way each model was trained on, and a sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusee.base.types import Array

SHARED = Path(__file__).parents[3] / "shared"


def shared(path: str) -> Path:
    """A file of the shared material; the test is skipped where that is absent."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"{path} is not among the shared material ({SHARED.name}/ beside the repository)")
    return found


def photo(path: str, width: int, height: int) -> Array:
    """RGB pixels [height, width, 3], 0 to 255, as f32."""
    with Image.open(shared(path)) as image:
        resized = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float32)


def planar(pixels: Array) -> Array:
    """[H, W, C] to a batch of one, channels first."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def bgr(pixels: Array) -> Array:
    return pixels[..., ::-1]


def imagenet(pixels: Array) -> Array:
    """Centred and scaled by the mean and the deviation of ImageNet's colours."""
    mean, deviation = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    return (pixels / np.float32(255) - mean) / deviation


def signed(pixels: Array) -> Array:
    """0 to 255 becomes -1 to 1."""
    return pixels / np.float32(127.5) - np.float32(1)


def luminance(pixels: Array) -> Array:
    """[H, W, 3] to [H, W, 1], 0 to 1."""
    return pixels @ np.float32([[0.299], [0.587], [0.114]]) / np.float32(255)


def batch(*items: Array) -> Array:
    return np.concatenate(items)


def voice(samples: int, rate: int, start: int = 0) -> Array:
    """A vowel-like sound: harmonics of 140 Hz under a slow swell, f32 [1, samples]."""
    t = (np.arange(start, start + samples) / rate)[None]
    tone = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 12))
    return (0.2 * tone * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t))).astype(np.float32)
