"""From an encoded photograph to a network's input: the server's path beside the usual one.

    python -m benchmarks.serving.image_inputs

Decodes, resizes, crops and normalises made-up photographs as JPEG, on one thread, and prints the best of several runs.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from time import perf_counter

import numpy as np
from PIL import Image

from fusee.base.types import Array
from fusee.images import ImageSteps, Resize, open_encoded, read_into

SIDE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STEPS = ImageSteps(SIDE, SIDE, Resize.CROP, mean=MEAN, std=STD, crop_fraction=SIDE / 256)
PHOTOGRAPHS = ((4000, 3000, 10), (1280, 896, 20), (384, 256, 100))  # width, height, runs


def photograph(width: int, height: int, kind: str = "JPEG") -> bytes:
    """Soft colours with a camera's noise."""
    random = np.random.default_rng(width)
    coarse = random.integers(0, 256, (height // 128, width // 128, 3), dtype=np.uint8)
    soft = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.float32)
    pixels = np.clip(soft + random.normal(0, 6, soft.shape), 0, 255).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=88)
    return file.getvalue()


def fused(content: bytes) -> Array:
    tensor = np.empty(STEPS.shape, STEPS.dtype)
    read_into(open_encoded(content, 64_000_000), STEPS, tensor)
    return tensor


def usual(content: bytes) -> Array:
    """Resize to 256, crop 224, normalise, as model cards write it."""
    image = Image.open(BytesIO(content)).convert("RGB")
    ratio = 256 / min(image.size)
    image = image.resize((round(image.width * ratio), round(image.height * ratio)), Image.Resampling.BILINEAR)
    left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
    pixels = np.asarray(image.crop((left, top, left + SIDE, top + SIDE)), np.float32) / 255
    return np.ascontiguousarray(((pixels - np.array(MEAN, np.float32)) / np.array(STD, np.float32)).transpose(2, 0, 1))


def from_all_pixels(content: bytes) -> Array:
    """The server's path without decoding coarsely."""
    file = BytesIO()
    Image.open(BytesIO(content)).save(file, "PNG", compress_level=0)
    return fused(file.getvalue())


def best_ms(function: Callable[[bytes], Array], content: bytes, runs: int) -> float:
    times_s: list[float] = []
    for _ in range(runs):
        started_s = perf_counter()
        function(content)
        times_s.append(perf_counter() - started_s)
    return min(times_s) * 1e3


def main() -> None:
    for width, height, runs in PHOTOGRAPHS:
        content = photograph(width, height)
        off = float(np.abs(fused(content) - from_all_pixels(content)).mean()) * 255 * float(np.mean(STD))
        print(
            f"{width}x{height}, {len(content) / 1e6:.2f} MB: usual {best_ms(usual, content, runs):.2f} ms, "
            f"fused {best_ms(fused, content, runs):.2f} ms; {off:.2f} of 255 off the full decoding on average"
        )


if __name__ == "__main__":
    main()
