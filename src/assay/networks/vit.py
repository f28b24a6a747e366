"""A vision transformer in the photo network's place: the same input and outputs, another backbone.

Convolutions make 20 x 20 tokens, a few transformer blocks mix them, and one query attends to them all for the view. The
view's logit is a sum over tokens of attention times value times output projection times head, and a bias: the map shows
these terms, which is an exact account of the logit, not the attention alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from assay.networks.graph import Array, GraphWriter, Stored
from assay.networks.photo import (
    CONVOLUTIONS,
    EMBEDDING_CHANNELS,
    GRID,
    PHOTO_OUTPUTS,
    VIEW_COUNT,
    WIDE,
    embedding_output,
    patches_output,
    pixels_input,
)

TOKENS_ACROSS = GRID // 2
TOKENS = TOKENS_ACROSS**2
HEADS = 4
HEAD_CHANNELS = WIDE // HEADS
HIDDEN = 3 * WIDE
BLOCKS = 3
VIT_CONVOLUTIONS = {name: CONVOLUTIONS[name] for name in ("stem", "down4", "down8", "down16", "up8", "fuse", "patch")}


def vit_weight_shapes() -> dict[str, tuple[int, ...]]:
    """Shape of every weight, by name; matrices stand input first."""
    shapes: dict[str, tuple[int, ...]] = {"position": (TOKENS, WIDE), "query": (HEADS, HEAD_CHANNELS)}
    for name, layer in VIT_CONVOLUTIONS.items():
        shapes |= {f"{name}.weight": (layer.outputs, layer.inputs, layer.kernel, layer.kernel)}
        shapes |= {f"{name}.bias": (layer.outputs,)}
    for block in range(BLOCKS):
        shapes |= _norm(f"{block}.norm1") | _linear(f"{block}.qkv", WIDE, 3 * WIDE)
        shapes |= _linear(f"{block}.out", WIDE, WIDE) | _norm(f"{block}.norm2")
        shapes |= _linear(f"{block}.mlp1", WIDE, HIDDEN) | _linear(f"{block}.mlp2", HIDDEN, WIDE)
    shapes |= _norm("last.norm") | _linear("last.key", WIDE, WIDE) | _linear("last.value", WIDE, WIDE)
    shapes |= _linear("last.out", WIDE, WIDE) | _linear("view", WIDE, VIEW_COUNT)
    return shapes | _linear("embedding", WIDE, EMBEDDING_CHANNELS)


def _linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (inputs, outputs), f"{name}.bias": (outputs,)}


def _norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (WIDE,), f"{name}.bias": (WIDE,)}


def random_vit_weights(seed: int) -> dict[str, Array]:
    """Untrained weights that keep the size of activations."""
    random = np.random.default_rng(seed)
    weights: dict[str, Array] = {}
    for name, shape in vit_weight_shapes().items():
        fan_in = int(np.prod(shape[1:])) if len(shape) == 4 else shape[0]
        values = random.standard_normal(shape) / np.sqrt(fan_in)
        if ".norm" in name:
            values = np.full(shape, name.endswith("weight"))
        weights[name] = values.astype(np.float32)
    return weights


def vit_network(weights: Mapping[str, Stored]) -> onnx.ModelProto:
    """The transformer with these weights, by the names of ``vit_weight_shapes``; see ``photo_network`` for the rest."""
    g = GraphWriter("assay_photo_vit", weights)
    x8 = _stem(g)
    x = g.convolve(x8, "down16", 2, relu=True)
    flat = g.reshape(x, "tokens.flat", (0, WIDE, TOKENS))
    tokens = g.node("Add", (g.node("Transpose", (flat,), "tokens", perm=[0, 2, 1]), g.weight("position")), "placed")
    for block in range(BLOCKS):
        tokens = _block(g, tokens, str(block))
    patches_output(g, _fused(g, x8, tokens))
    _view(g, tokens)
    return g.finish(PHOTO_OUTPUTS)


def _stem(g: GraphWriter) -> str:
    x = pixels_input(g)
    for layer in ("stem", "down4", "down8"):
        x = g.convolve(x, layer, 2, relu=True)
    return x


def _block(g: GraphWriter, tokens: str, block: str) -> str:
    """Self-attention and a two-layer perceptron, each after a normalisation and beside the tokens themselves."""
    normal = g.layer_norm(tokens, f"{block}.norm1")
    mixed = g.linear(_attention(g, g.linear(normal, f"{block}.qkv"), block), f"{block}.out")
    tokens = g.node("Add", (tokens, mixed), f"{block}.mixed")
    hidden = g.node("Relu", (g.linear(g.layer_norm(tokens, f"{block}.norm2"), f"{block}.mlp1"),), f"{block}.hidden")
    return g.node("Add", (tokens, g.linear(hidden, f"{block}.mlp2")), block)


def _attention(g: GraphWriter, qkv: str, block: str) -> str:
    shape = (0, TOKENS, 3, HEADS, HEAD_CHANNELS)
    apart = g.node("Transpose", (g.reshape(qkv, f"{block}.apart", shape),), f"{block}.heads", perm=[2, 0, 3, 1, 4])
    query, key, value = (_taken(g, apart, i, f"{block}.{name}") for i, name in enumerate(("q", "k", "v")))
    turned = g.node("Transpose", (key,), f"{block}.k.turned", perm=[0, 1, 3, 2])
    scaled = g.node("Mul", (query, g.constant("attention.scale", HEAD_CHANNELS**-0.5)), f"{block}.q.scaled")
    shares = g.node("Softmax", (g.node("MatMul", (scaled, turned), f"{block}.logits"),), f"{block}.shares", axis=-1)
    found = g.node("MatMul", (shares, value), f"{block}.found")
    return g.reshape(
        g.node("Transpose", (found,), f"{block}.found.rows", perm=[0, 2, 1, 3]), f"{block}.rows", (0, TOKENS, WIDE)
    )


def _taken(g: GraphWriter, x: str, index: int, output: str) -> str:
    return g.node("Gather", (x, g.constant(f"index{index}", index, np.int64)), output, axis=0)


def _fused(g: GraphWriter, x8: str, tokens: str) -> str:
    """The 40 x 40 grid with what the tokens know of their 2 x 2 places."""
    turned = g.node("Transpose", (tokens,), "tokens.channels", perm=[0, 2, 1])
    grid = g.reshape(turned, "tokens.grid", (0, WIDE, TOKENS_ACROSS, TOKENS_ACROSS))
    return g.convolve(g.join(x8, grid, "up8"), "fuse", relu=True)


def _view(g: GraphWriter, tokens: str) -> None:
    """One query attends to all tokens, head by head; each token's share of each logit is kept apart, then summed."""
    normal = g.layer_norm(tokens, "last.norm")
    shape = (0, TOKENS, HEADS, HEAD_CHANNELS)
    keys = g.reshape(g.linear(normal, "last.key"), "last.keys", shape)
    values = g.reshape(g.linear(normal, "last.value"), "last.values", shape)
    scaled = g.node("Mul", (g.weight("query"), g.constant("attention.scale", HEAD_CHANNELS**-0.5)), "query.scaled")
    logits = g.node(
        "ReduceSum", (g.node("Mul", (keys, scaled), "last.products"), g.axes(-1)), "last.logits", keepdims=1
    )
    shares = g.node("Softmax", (logits,), "last.shares", axis=1)
    given = g.reshape(g.node("Mul", (values, shares), "last.given"), "last.given.rows", (0, TOKENS, WIDE))
    through = g.node("MatMul", (given, g.weight("last.out.weight")), "last.through")
    _logits(g, through)
    attended = g.node("ReduceSum", (through, g.axes(1)), "last.attended", keepdims=0)
    embedding_output(g, g.node("Add", (attended, g.weight("last.out.bias")), "pooled"))


def _logits(g: GraphWriter, through: str) -> None:
    parts = g.node("MatMul", (through, g.weight("view.weight")), "view.parts")
    offset = g.node("MatMul", (g.weight("last.out.bias"), g.weight("view.weight")), "view.offset")
    bias = g.node("Add", (offset, g.weight("view.bias")), "view.constant")
    logit = g.node("Add", (g.node("ReduceSum", (parts, g.axes(1)), "view.total", keepdims=0), bias), "view.logit")
    g.node("Softmax", (logit,), "view", axis=1)
    likeliest = g.node("ArgMax", (logit,), "view.likeliest", axis=1, keepdims=1)
    by_view = g.node("Transpose", (parts,), "view.parts.by_view", perm=[0, 2, 1])
    chosen = g.node("GatherND", (by_view, likeliest), "view.chosen", batch_dims=1)
    grid = g.reshape(chosen, "view.grid", (-1, 1, TOKENS_ACROSS, TOKENS_ACROSS))
    quarter = g.node("Mul", (grid, g.constant("quarter", 0.25)), "view.quarters")
    g.reshape(g.spread(quarter, "view.spread"), "view_map", (-1, GRID, GRID))
