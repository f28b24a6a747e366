"""BERT-base (Devlin et al., 2018), sequences of 128 tokens, LayerNorm and GELU spelled out."""

from __future__ import annotations

from math import sqrt

import numpy as np
import onnx
from onnx import TensorProto

from benchmarks.models.attention import attended, scores
from benchmarks.models.layers import gelu, gemm, layer_norm_chain, linear
from benchmarks.models.writer import GraphWriter, Size, Tensor

LAYERS, FEATURES, HEADS, INNER = 12, 768, 12, 3072
VOCABULARY, POSITIONS, KINDS, TOKENS = 30522, 512, 2, 128
EPSILON = 1e-12


def bert_base(batch: Size = 1) -> onnx.ModelProto:
    """Token ids, mask and token types, each i64 [N,128] -> hidden states [N,128,768] and pooled [N,768]."""
    w = GraphWriter("bert_base", batch, seed=109)
    ids, mask, kinds = (
        w.input(name, (batch, TOKENS), TensorProto.INT64) for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    masked = _additive_mask(w, mask)
    with w.scope("embeddings"):
        x = _embeddings(w, ids, kinds)
    for layer in range(LAYERS):
        with w.scope("encoder", "layer", str(layer)):
            x = _layer(w, x, masked)
    with w.scope("pooler", "dense"):
        pooled = gemm(w, w.take(x, 1, 0), FEATURES)
    pooled = Tensor(w.node("Tanh", (pooled,)), pooled.shape)
    return w.finish([("last_hidden_state", x), ("pooler_output", pooled)])


def _additive_mask(w: GraphWriter, mask: Tensor) -> str:
    """0 where a token may be attended to and the lowest float where not: f32 [N,1,1,128]."""
    name = mask.name
    for axis in (1, 2):
        name = w.node("Unsqueeze", (name, w.constant(np.array([axis], np.int64))))
    name = w.node("Sub", (w.constant(1.0), w.node("Cast", (name,), to=TensorProto.FLOAT)))
    return w.node("Mul", (name, w.constant(np.finfo(np.float32).min)))


def _embeddings(w: GraphWriter, ids: Tensor, kinds: Tensor) -> Tensor:
    words = w.node("Gather", (w.weight("word_embeddings.weight", w.normal((VOCABULARY, FEATURES))), ids), axis=0)
    types = w.weight("token_type_embeddings.weight", w.normal((KINDS, FEATURES), 0.3))
    places = w.weight("position_embeddings.weight", w.normal((POSITIONS, FEATURES), 0.5))
    name = w.node("Add", (words, w.node("Gather", (types, kinds), axis=0)))
    index = w.constant(np.arange(TOKENS, dtype=np.int64)[None])
    name = w.node("Add", (name, w.node("Gather", (places, index), axis=0)))
    with w.scope("LayerNorm"):
        return layer_norm_chain(w, Tensor(name, (w.batch, TOKENS, FEATURES)), EPSILON)


def _layer(w: GraphWriter, x: Tensor, mask: str) -> Tensor:
    with w.scope("attention"):
        y = _attention(w, x, mask)
        with w.scope("output", "dense"):
            y = linear(w, y, FEATURES)
        with w.scope("output", "LayerNorm"):
            x = layer_norm_chain(w, w.add(y, x), EPSILON)
    with w.scope("intermediate", "dense"):
        y = linear(w, x, INNER)
    y = gelu(w, y)
    with w.scope("output", "dense"):
        y = linear(w, y, FEATURES)
    with w.scope("output", "LayerNorm"):
        return layer_norm_chain(w, w.add(y, x), EPSILON)


def _attention(w: GraphWriter, x: Tensor, mask: str) -> Tensor:
    with w.scope("self"):
        query, key, value = (_heads(w, x, name) for name in ("query", "key", "value"))
        products = scores(w, query, key)
        name = w.node("Div", (products, w.constant(sqrt(FEATURES // HEADS))))
        return attended(w, Tensor(w.node("Add", (name, mask)), products.shape), value)


def _heads(w: GraphWriter, x: Tensor, name: str) -> Tensor:
    """[N,128,768] -> [N,12,128,64]."""
    with w.scope(name):
        x = linear(w, x, FEATURES)
    return w.transpose(w.reshape(x, (w.batch, TOKENS, HEADS, FEATURES // HEADS)), 0, 2, 1, 3)
