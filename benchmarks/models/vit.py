"""ViT-B/16 (Dosovitskiy et al., 2020)."""

from __future__ import annotations

import numpy as np
import onnx

from benchmarks.models.attention import attended, perceptron, scaled, scores, stacked_heads
from benchmarks.models.layers import conv, gemm, layer_norm, linear
from benchmarks.models.writer import GraphWriter, Size, Tensor

LAYERS, FEATURES, HEADS, PATCH, TOKENS = 12, 768, 12, 16, 196
EPSILON = 1e-6


def vit_b16(batch: Size = 1) -> onnx.ModelProto:
    """Image [N,3,224,224] -> logits [N,1000]."""
    w = GraphWriter("vit_b16", batch, seed=16)
    x = _tokens(w, w.input("input", (batch, 3, 224, 224)))
    for layer in range(LAYERS):
        with w.scope("blocks", str(layer)):
            x = _block(w, x)
    with w.scope("norm"):
        x = layer_norm(w, x, EPSILON)
    x = w.take(x, 1, 0)
    with w.scope("head"):
        logits = gemm(w, x, 1000)
    return w.finish([("logits", logits)])


def _tokens(w: GraphWriter, image: Tensor) -> Tensor:
    """Patches as tokens behind the class token, positions added: [N,197,768]."""
    with w.scope("patch_embed", "proj"):
        x = conv(w, image, FEATURES, PATCH, PATCH, pad=0, bias=True)
    x = w.transpose(w.reshape(x, (w.batch, FEATURES, TOKENS)), 0, 2, 1)
    token = w.weight("cls_token", w.normal((1, 1, FEATURES)))
    if w.batch != 1:
        token = w.node("Expand", (token, w.shape_operand((w.batch, 1, FEATURES))))
    x = w.concat((Tensor(token, (w.batch, 1, FEATURES)), x), 1)
    positions = w.weight("pos_embed", w.normal((1, TOKENS + 1, FEATURES), 0.3))
    return w.add(x, Tensor(positions, (1, TOKENS + 1, FEATURES)))


def _block(w: GraphWriter, x: Tensor) -> Tensor:
    with w.scope("norm1"):
        y = layer_norm(w, x, EPSILON)
    with w.scope("attn"):
        x = w.add(x, _attention(w, y))
    with w.scope("norm2"):
        y = layer_norm(w, x, EPSILON)
    with w.scope("mlp"):
        return w.add(x, perceptron(w, y, 4 * FEATURES, ("fc1", "fc2")))


def _attention(w: GraphWriter, x: Tensor) -> Tensor:
    heads = stacked_heads(w, x, HEADS)
    axes = w.constant(np.array([0], np.int64))
    query, key, value = (
        Tensor(w.node("Squeeze", (part.name, axes)), part.shape[1:]) for part in w.split(heads, (1, 1, 1), 0)
    )
    query = scaled(w, query, (FEATURES // HEADS) ** -0.5)
    x = attended(w, scores(w, query, key), value)
    with w.scope("proj"):
        return linear(w, x, FEATURES)
