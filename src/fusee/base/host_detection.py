"""Object detection steps that run on the host at run time, because how much they give depends on the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fusee.base.types import Array


def non_max_suppression(attributes: dict[str, Any], *operands: Array) -> tuple[Array]:
    """The boxes that are kept, [batch, class, box] each, by falling score within a class (ONNX NonMaxSuppression-11).

    ``operands``: boxes[B, N, 4], scores[B, C, N], and one-element arrays: most boxes per class, IoU threshold, and
    score threshold unless every box is a candidate.
    """
    boxes, scores, most, iou = operands[:4]
    least = float(operands[4].ravel()[0]) if len(operands) > 4 else -np.inf
    limit, threshold = max(int(most.ravel()[0]), 0), float(iou.ravel()[0])
    kept: list[Array] = []
    for b in range(scores.shape[0]):
        corners = _corners(boxes[b].astype(np.float32), bool(attributes["center_point_box"]))
        for c in range(scores.shape[1]):
            chosen = _suppress(corners, scores[b, c].astype(np.float32), limit, threshold, least)
            kept.append(np.stack([np.full_like(chosen, b), np.full_like(chosen, c), chosen], axis=1))
    return (np.concatenate([np.zeros((0, 3), np.int64), *kept]),)


def _corners(boxes: Array, center_point: bool) -> Array:
    """[N, 4] boxes as lower y, lower x, upper y, upper x."""
    if center_point:
        half = boxes[:, 2:] / 2
        low, high = boxes[:, 1::-1] - half[:, ::-1], boxes[:, 1::-1] + half[:, ::-1]
        return np.concatenate([low, high], axis=1)
    return np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)


def _suppress(boxes: Array, scores: Array, limit: int, threshold: float, least: float) -> Array:
    """Greedily keep the best box and drop what overlaps it; among equal scores the first box wins."""
    candidates = np.flatnonzero(scores > least) if least > -np.inf else np.arange(len(scores))
    order = candidates[np.argsort(-scores[candidates], kind="stable")]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    chosen: list[int] = []
    while order.size and len(chosen) < limit:
        best, order = int(order[0]), order[1:]
        chosen.append(best)
        order = order[~(_overlap(boxes, areas, best, order) > threshold)]
    return np.array(chosen, np.int64)


def _overlap(boxes: Array, areas: Array, best: int, others: Array) -> Array:
    """Intersection over union of one box with others; 0 where a box is empty."""
    low = np.maximum(boxes[best, :2], boxes[others, :2])
    high = np.minimum(boxes[best, 2:], boxes[others, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=1)
    union = areas[best] + areas[others] - common
    valid = (common > 0) & (areas[best] > 0) & (areas[others] > 0) & (union > 0)
    return np.where(valid, common / np.where(valid, union, 1), 0).astype(np.float32)


DETECTION_FUNCTIONS: dict[str, Callable[..., tuple[Array, ...]]] = {"non_max_suppression": non_max_suppression}
