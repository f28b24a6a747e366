"""Scaled dot-product attention on numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fusee.base.host_linear import Attributes, finished, working
from fusee.base.types import Array, DType


def attention(attributes: Attributes, q: Array, k: Array, v: Array, *mask: Array) -> tuple[Array]:
    """softmax(q k^T * scale + mask) v; a query that sees no key gives 0."""
    queries, keys, values = (working(x) for x in (q, k, v))
    scores = np.matmul(queries, np.swapaxes(keys, -1, -2)) * queries.dtype.type(attributes["scale"])
    for m in mask:
        scores = np.where(m, scores, -np.inf) if m.dtype == np.bool_ else scores + m.astype(scores.dtype)
    if attributes["causal"]:
        rows, columns = np.ogrid[: scores.shape[-2], : scores.shape[-1]]
        scores = np.where(columns <= rows + attributes["offset"], scores, -np.inf)
    return (finished(np.matmul(_softmax(scores).astype(queries.dtype), values), DType.of(q.dtype)),)


def _softmax(scores: Array) -> Array:
    """Over the last axis; a row of nothing but -inf gives 0."""
    top = scores.max(-1, keepdims=True, initial=-np.inf)
    e = np.exp(scores - np.where(np.isneginf(top), 0, top))
    total = e.sum(-1, keepdims=True)
    return e / np.where(total == 0, 1, total)


ATTENTION_FUNCTIONS: dict[str, Callable[..., tuple[Array, ...]]] = {"attention": attention}
