"""Scaled dot-product attention as one op."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusee.base.dims import Dim
from fusee.base.errors import ShapeError
from fusee.base.host_attention import attention
from fusee.base.types import Array, DType, TensorType, broadcast
from fusee.ir.graph import Op, Sample
from fusee.ops.linear import differ


@dataclass(frozen=True)
class Attention(Op):
    """softmax(q k^T * scale + mask) v, without the scores ever being a tensor of the graph.

    q[..., S, D], k[..., T, D], v[..., T, E] -> [..., S, E]; the axes before the last two broadcast. mask, if given,
    broadcasts to [..., S, T]: a float one is added to the scores, of a boolean one False excludes the pair. With
    ``causal`` query i sees only keys up to i + ``offset``. A query that sees no key gives 0. f16 and bf16 compute in
    f32 and round once. Vaswani et al., Attention Is All You Need (2017), equation 1; ONNX Attention-23.
    """

    scale: float
    causal: bool = False
    offset: Dim = 0

    host_fallback: ClassVar[str] = "attention"

    def infer(self, q: TensorType, k: TensorType, v: TensorType, *mask: TensorType) -> TensorType:
        if min(q.rank, k.rank, v.rank) < 2 or q.dtype != k.dtype or q.dtype != v.dtype or not q.dtype.is_float:
            raise ShapeError(f"q is {q}, k {k}, v {v}; expected one float type and at least two axes each")
        if differ(q.shape[-1], k.shape[-1]) or differ(k.shape[-2], v.shape[-2]):
            raise ShapeError(f"q is {q}, k {k}, v {v}; expected [..., S, D], [..., T, D] and [..., T, E]")
        batch = broadcast(q.shape[:-2], k.shape[:-2], v.shape[:-2])
        for m in mask:
            if m.dtype not in (q.dtype, DType.BOOL):
                raise ShapeError(f"the mask is {m}; expected {q.dtype} or bool")
            broadcast(m.shape, (*batch, q.shape[-2], k.shape[-2]))
        return q.with_shape((*batch, q.shape[-2], v.shape[-1]))

    def reference(self, q: Array, k: Array, v: Array, *mask: Array) -> Array:
        return attention(self.attributes(), q, k, v, *mask)[0]

    def flops(self, q: TensorType, k: TensorType, v: TensorType, *mask: TensorType) -> Dim:
        result = self.infer(q, k, v, *mask)
        rows = result.with_shape(result.shape[:-1]).size
        return rows * k.shape[-2] * (2 * q.shape[-1] + 2 * v.shape[-1] + 4)

    samples: ClassVar[tuple[Sample, ...]] = ()


Attention.samples = (
    (Attention(0.5), ("f32[2,3,5,4]", "f32[2,3,5,4]", "f32[2,3,5,4]")),
    (Attention(0.125), ("f32[1,2,33,64]", "f32[1,2,33,64]", "f32[1,2,33,64]")),
    (Attention(0.3), ("f32[2,3,5,4]", "f32[2,3,7,4]", "f32[2,3,7,6]", "f32[2,1,1,7]")),
    (Attention(0.3), ("f32[2,3,5,4]", "f32[2,3,7,4]", "f32[2,3,7,6]", "bool[5,7]")),
    (Attention(0.2, causal=True), ("f32[1,4,17,8]", "f32[1,4,17,8]", "f32[1,4,17,8]")),
    (Attention(0.2, causal=True, offset=3), ("f32[1,4,2,8]", "f32[1,4,5,8]", "f32[1,4,5,8]")),
    (Attention(0.2), ("f32[2,2,3,5,4]", "f32[2,1,6,4]", "f32[2,1,6,4]")),
    (Attention(0.2), ("f32[5,9]", "f32[7,9]", "f32[7,3]")),
    (Attention(0.25), ("f16[1,2,9,16]", "f16[1,2,9,16]", "f16[1,2,9,16]")),
    (Attention(0.25), ("bf16[1,2,9,16]", "bf16[1,2,9,16]", "bf16[1,2,9,16]")),
    (Attention(0.25), ("f64[1,2,3,4]", "f64[1,2,3,4]", "f64[1,2,3,4]")),
)

ATTENTION_OPS: tuple[type[Op], ...] = (Attention,)
