"""Inputs for the networks: seeded, and different enough from each other that answers differ."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.models.calibration import Array, draw_pictures

Inputs = dict[str, Array]
DrawInputs = Callable[[int, int], Inputs]
"""Seed and batch size to the arrays of a request."""


def image(name: str, size: int) -> DrawInputs:
    """Draws normalised pictures, f32 [batch,3,size,size]."""

    def draw(seed: int, batch: int = 1) -> Inputs:
        return {name: draw_pictures(np.random.default_rng(seed), batch, size)}

    return draw


def sentence(seed: int, batch: int = 1) -> Inputs:
    """Draws token ids, the mask of the tokens that count, and the segment of each token: i64 [batch,128]."""
    random = np.random.default_rng(seed)
    lengths = random.integers(64, 129, (batch, 1))
    place = np.arange(128)
    mask = (place < lengths).astype(np.int64)
    ids = random.integers(999, 30522, (batch, 128)) * mask
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": (place >= lengths // 2) * mask}
