"""What stands before and behind a network, in numpy: for pipelines."""

from __future__ import annotations

import numpy as np

from fusee.base.host_detection import non_max_suppression
from fusee.base.types import Array


def softmax(logits: Array, axis: int = -1) -> Array:
    """Shares that add up to 1 along an axis, in the type of ``logits``."""
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def top_k(values: Array, k: int) -> tuple[Array, Array]:
    """The ``k`` largest values along the last axis and their indices i64, falling; equal ones stay in order."""
    key = -values if values.dtype.kind == "f" else ~values  # -x of whole numbers may overflow
    indices = np.argsort(key, axis=-1, kind="stable")[..., :k]
    return np.take_along_axis(values, indices, axis=-1), indices


def nms(
    boxes: Array, scores: Array, iou_threshold: float = 0.5, score_threshold: float = -np.inf, most: int | None = None
) -> Array:
    """Indices of the boxes kept, i64 by falling score: of boxes that overlap by more than the threshold the best one.

    boxes: [N, 4] as two opposite corners; scores: [N]; those not above ``score_threshold`` are dropped.
    """
    limit = len(boxes) if most is None else most
    operands = (boxes[np.newaxis], scores[np.newaxis, np.newaxis], np.array([limit]), np.array([iou_threshold]))
    (kept,) = non_max_suppression({"center_point_box": 0}, *operands, np.array([score_threshold]))
    return kept[:, 2]
