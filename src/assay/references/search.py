"""Exact nearest neighbours: one matrix product with all references, then the few best measured again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from assay.vision.lens import Floats

_COSINE_ERROR = 1e-5  # more than 128 products in float32 can be wrong by


class Hit(NamedTuple):
    row: int
    distance: float  # Euclidean


def nearest_rows(rows: Floats, embeddings: Sequence[Floats], most: int) -> list[list[Hit]]:
    """Of ``rows`` [n, EMBEDDING], for each embedding, nearest first; of equally near ones the first row. All are unit
    vectors."""
    if not len(rows) or not embeddings:
        return [[] for _ in embeddings]
    cosines = np.stack(embeddings) @ rows.T
    return [_best(rows, *pair, most) for pair in zip(embeddings, cosines, strict=True)]


def _best(rows: Floats, embedding: Floats, cosines: Floats, most: int) -> list[Hit]:
    last = max(len(cosines) - most, 0)
    worst = np.partition(cosines, last)[last] - _COSINE_ERROR
    candidates = np.flatnonzero(cosines >= worst)
    distances = np.linalg.norm(rows[candidates].astype(np.float64) - embedding, axis=1)
    order = np.lexsort((candidates, distances))[:most]
    return [Hit(int(candidates[i]), float(distances[i])) for i in order]
