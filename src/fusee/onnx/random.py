"""ONNX ops that draw random numbers.

A node without a seed gets one from its name: every run of the engine draws the same numbers, so that a build can be
checked against the reference.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np

from fusee.base.dims import Dim
from fusee.base.types import F32, I32, DType
from fusee.ir.graph import Value
from fusee.onnx.call import Lowering, OnnxCall
from fusee.onnx.loader import element_type
from fusee.ops.random import Bernoulli, Multinomial, RandomNormal, RandomUniform


def _seed(call: OnnxCall) -> int:
    if call.has_attribute("seed"):
        return int(np.float32(call.float("seed")).view(np.uint32))
    return crc32(call.name.encode())


def _dtype(call: OnnxCall, default: DType) -> DType:
    return element_type(call.int("dtype"), call.where) if call.has_attribute("dtype") else default


def _uniform(call: OnnxCall, shape: tuple[Dim, ...], dtype: DType, *after: Value) -> Value:
    op = RandomUniform(shape, call.float("low", 0.0), call.float("high", 1.0), _dtype(call, dtype), _seed(call))
    return op(*after, loc=call.loc)


def _normal(call: OnnxCall, shape: tuple[Dim, ...], dtype: DType, *after: Value) -> Value:
    op = RandomNormal(shape, call.float("mean", 0.0), call.float("scale", 1.0), _dtype(call, dtype), _seed(call))
    return op(*after, loc=call.loc)


def _waits(call: OnnxCall, x: Value) -> tuple[Value, ...]:
    return (x,) if call.comes_from_data(x.type.shape) else ()


def lower_random_uniform(call: OnnxCall) -> Value:
    return _uniform(call, call.ints("shape"), F32)


def lower_random_uniform_like(call: OnnxCall) -> Value:
    x = call.value(0)
    return _uniform(call, x.type.shape, x.type.dtype, *_waits(call, x))


def lower_random_normal(call: OnnxCall) -> Value:
    return _normal(call, call.ints("shape"), F32)


def lower_random_normal_like(call: OnnxCall) -> Value:
    x = call.value(0)
    return _normal(call, x.type.shape, x.type.dtype, *_waits(call, x))


def lower_bernoulli(call: OnnxCall) -> Value:
    x = call.value(0)
    return Bernoulli(_dtype(call, x.type.dtype), _seed(call))(x, loc=call.loc)


def lower_multinomial(call: OnnxCall) -> Value:
    op = Multinomial(call.int("sample_size", 1), _dtype(call, I32), _seed(call))
    return op(call.value(0), loc=call.loc)


LOWERINGS: tuple[Lowering, ...] = (
    Lowering("RandomUniform", 1, lower_random_uniform),
    Lowering("RandomUniformLike", 1, lower_random_uniform_like),
    Lowering("RandomNormal", 1, lower_random_normal),
    Lowering("RandomNormalLike", 1, lower_random_normal_like),
    Lowering("Bernoulli", 15, lower_bernoulli),
    Lowering("Multinomial", 7, lower_multinomial),
)
