"""What the networks with attention share: the product of queries and keys, and the two-layer perceptron."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.models.layers import gelu, linear
from benchmarks.models.writer import GraphWriter, Tensor


def perceptron(w: GraphWriter, x: Tensor, hidden: int, names: tuple[str, str]) -> Tensor:
    """Linear to ``hidden`` features, GELU, and linear back."""
    features = x.sized(-1)
    with w.scope(names[0]):
        x = linear(w, x, hidden)
    x = gelu(w, x)
    with w.scope(names[1]):
        return linear(w, x, features)


def stacked_heads(w: GraphWriter, x: Tensor, heads: int) -> Tensor:
    """Queries, keys and values from one layer: [B,S,F] -> [3,B,heads,S,F/heads]."""
    batch, tokens = x.shape[:2]
    features = x.sized(2)
    with w.scope("qkv"):
        x = linear(w, x, 3 * features)
    x = w.reshape(x, (batch, tokens, 3, heads, features // heads))
    return w.transpose(x, 2, 0, 3, 1, 4)


def scores(w: GraphWriter, query: Tensor, key: Tensor) -> Tensor:
    """query @ transposed key: [B,H,S,D], [B,H,S,D] -> [B,H,S,S]."""
    turned = w.transpose(key, 0, 1, 3, 2)
    return replace(query, name=w.node("MatMul", (query, turned)), shape=(*query.shape[:3], key.shape[2]))


def scaled(w: GraphWriter, x: Tensor, factor: float) -> Tensor:
    """x times a number."""
    return replace(x, name=w.node("Mul", (x, w.constant(np.float32(factor)))))


def attended(w: GraphWriter, weights: Tensor, value: Tensor) -> Tensor:
    """softmax(weights) @ value with the heads side by side again: -> [B,S,H D]."""
    batch, _, tokens, _ = value.shape
    shares = w.node("Softmax", (weights,), axis=-1)
    x = Tensor(w.node("MatMul", (shares, value)), value.shape)
    x = w.transpose(x, 0, 2, 1, 3)
    return w.reshape(x, (batch, tokens, value.sized(1) * value.sized(3)))
