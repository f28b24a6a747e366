"""Lowerings of signal processing: Fourier transforms as matrix products, short-time ones as convolutions."""

from __future__ import annotations

import numpy as np

from fusee.base.dims import Dim, equal, mod, select
from fusee.base.types import Array, DType
from fusee.ir.graph import Value, const
from fusee.onnx.axes import normal_axis
from fusee.onnx.call import Lowering, OnnxCall
from fusee.onnx.fill import dims_value
from fusee.onnx.loader import element_type
from fusee.ops.binary import Add, Div, Mul
from fusee.ops.cast import Cast
from fusee.ops.check import numbers
from fusee.ops.elementwise import Cos
from fusee.ops.linear import Conv, MatMul
from fusee.ops.shape import Full, Pad, Range, Reshape, Slice, Transpose
from fusee.ops.signal import Fourier, MelWeights, ShortTimeFourier

LONGEST_MATRIX = 1024  # a longer transform is cheaper as an FFT than as a matrix product


def basis(length: int, inverse: bool, bins: int) -> Array:
    """Cosines and sines: f64[length, bins, 2], real and imaginary part of each bin's share of each sample."""
    turns = np.outer(np.arange(length), np.arange(bins)) % length
    angles = 2 * np.pi * turns / length * (1 if inverse else -1)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1) / (length if inverse else 1)


def matrix(length: int, components: int, inverse: bool, onesided: bool) -> Array:
    """The transform as one matrix from the interleaved parts of the samples to those of the bins.

    ``components`` is 1 for real samples and 2 for complex ones. ``inverse`` and ``onesided`` together take
    length // 2 + 1 bins, the others being their conjugates, to ``length`` real samples.
    """
    if inverse and onesided:
        return _real_signal(length)
    full = basis(length, inverse, length // 2 + 1 if onesided else length)
    rows = [full, np.stack([-full[..., 1], full[..., 0]], axis=-1)][:components]
    return np.stack(rows, axis=1).reshape(length * components, -1)


def _real_signal(length: int) -> Array:
    half = length // 2 + 1
    waves = basis(length, True, length)[:half]
    twice = np.full((half, 1), 2.0)
    twice[0] = 1
    if length % 2 == 0:
        twice[-1] = 1
    return np.stack([waves[..., 0] * twice, -waves[..., 1] * twice], axis=1).reshape(2 * half, length)


def lower_dft(call: OnnxCall) -> Value:
    """DFT-17: the axis is an attribute."""
    return _dft(call, call.int("axis", 1))


def lower_dft_20(call: OnnxCall) -> Value:
    """DFT-20: the axis is an input."""
    return _dft(call, call.dims(2)[0] if call.has(2) else -2)


def _dft(call: OnnxCall, axis: Dim) -> Value:
    x = call.value(0)
    rank = x.type.rank
    axis = normal_axis(call, axis, rank) if isinstance(axis, int) else mod(axis, rank)
    inverse, onesided = bool(call.int("inverse", 0)), bool(call.int("onesided", 0))
    length = call.dims(1)[0] if call.has(1) else _size_at(x, axis)
    if inverse and onesided and not call.has(1):
        length = 2 * (length - 1)
    if not (isinstance(axis, int) and isinstance(length, int) and length <= LONGEST_MATRIX and x.type.is_static):
        return Fourier(axis, length, inverse, onesided)(call.ordered(x), loc=call.loc)
    order = (*[i for i in range(rank - 1) if i != axis], axis, rank - 1)
    y = _transformed(call, Transpose(order)(x, loc=call.loc), length, inverse, onesided)
    return Transpose(tuple(int(i) for i in np.argsort(order)))(y, loc=call.loc)


def _size_at(x: Value, axis: Dim) -> Dim:
    found: Dim = 0
    for i, size in enumerate(x.type.shape):
        found = select(equal(axis, i), size, found)
    return found


def _transformed(call: OnnxCall, x: Value, length: int, inverse: bool, onesided: bool) -> Value:
    (components,) = numbers(x.type.shape[-1:])
    samples = length // 2 + 1 if inverse and onesided else length
    x = _fitted(call, x, samples)
    *batch, _, _ = x.type.shape
    flat = Reshape((*batch, samples * components))(x, loc=call.loc)
    flat = Reshape((1, *flat.type.shape))(flat, loc=call.loc) if flat.type.rank == 1 else flat
    weights = matrix(length, components, inverse, onesided)
    y = MatMul()(flat, const(weights, x.type.dtype), loc=call.loc)
    parts = 1 if inverse and onesided else 2
    return Reshape((*batch, weights.shape[1] // parts, parts))(y, loc=call.loc)


def _fitted(call: OnnxCall, x: Value, samples: int) -> Value:
    """x[..., N, C] cut or filled with zeros to that many samples."""
    *batch, found, parts = x.type.shape
    if found == samples:
        return x
    after = (*[0] * len(batch), samples - found, 0)
    if isinstance(found, int) and found > samples:
        return Slice((0,) * x.type.rank, (*batch, samples, parts), (1,) * x.type.rank)(x, loc=call.loc)
    return Pad((0,) * x.type.rank, after)(x, const(0, x.type.dtype), loc=call.loc)


def lower_stft(call: OnnxCall) -> Value:
    """STFT-17: a strided convolution whose kernels are the windowed waves of each bin."""
    x, window = call.value(0), call.optional(2)
    batch, signal, parts = x.type.shape
    step, length, onesided = call.dims(1)[0], _frame_length(call, window, signal), bool(call.int("onesided", 1))
    if not (isinstance(step, int) and isinstance(length, int) and isinstance(parts, int)):
        windows = [window] if window is not None else []
        return ShortTimeFourier(step, length, onesided)(call.ordered(x), *windows, loc=call.loc)
    bins = length // 2 + 1 if onesided else length
    full = basis(length, False, bins)
    waves = np.stack([full, np.stack([-full[..., 1], full[..., 0]], axis=-1)][:parts])
    kernels = const(waves.transpose(2, 3, 0, 1).reshape(2 * bins, parts, 1, length), x.type.dtype)
    if window is not None:
        kernels = Mul()(kernels, window, loc=call.loc)
    lines = Transpose((0, 2, 1))(x, loc=call.loc)
    image = Reshape((batch, parts, 1, signal))(lines, loc=call.loc)
    y = Conv((1, step), (0,) * 4, (1, 1))(image, kernels, loc=call.loc)
    frames = y.type.shape[-1]
    y = Transpose((0, 2, 1))(Reshape((batch, 2 * bins, frames))(y, loc=call.loc), loc=call.loc)
    return Reshape((batch, frames, bins, 2))(y, loc=call.loc)


def _frame_length(call: OnnxCall, window: Value | None, signal: Dim) -> Dim:
    if window is not None:
        return window.type.shape[0]
    return call.dims(3)[0] if call.has(3) else signal


def lower_mel_weight_matrix(call: OnnxCall) -> Value:
    """MelWeightMatrix-17."""
    (bands,), (length,) = call.dims(0), call.dims(1)
    limits = [call.ordered(call.value(2)), call.value(3), call.value(4)]
    y = MelWeights(bands, length)(*limits, loc=call.loc)
    wanted = element_type(call.int("output_datatype", 1), call.where)
    return y if wanted == y.type.dtype else Cast(wanted)(y, loc=call.loc)


def _cosine_window(call: OnnxCall, coefficients: tuple[float, ...]) -> Value:
    """The sum over k of coefficients[k] * cos(2 pi k n / N), N being the size, or one less if symmetric."""
    (size,) = call.dims(0)
    loc, steps = call.loc, (size if call.int("periodic", 1) else size - 1)
    n = Range(size)(const(0, DType.I64), const(1, DType.I64), loc=loc)
    span = Cast(DType.F32)(dims_value(call, (steps,), call.value(0)), loc=loc)
    turns = Div()(Cast(DType.F32)(n, loc=loc), span, loc=loc)
    total = Full((size,))(const(coefficients[0], DType.F32), loc=loc)
    for k, coefficient in enumerate(coefficients[1:], start=1):
        wave = Cos()(Mul()(turns, const(2 * np.pi * k, DType.F32), loc=loc), loc=loc)
        total = Add()(total, Mul()(wave, const(coefficient, DType.F32), loc=loc), loc=loc)
    wanted = element_type(call.int("output_datatype", 1), call.where)
    return total if wanted is DType.F32 else Cast(wanted)(total, loc=loc)


def lower_hann_window(call: OnnxCall) -> Value:
    """HannWindow-17."""
    return _cosine_window(call, (0.5, -0.5))


def lower_hamming_window(call: OnnxCall) -> Value:
    """HammingWindow-17."""
    return _cosine_window(call, (25 / 46, -21 / 46))


def lower_blackman_window(call: OnnxCall) -> Value:
    """BlackmanWindow-17."""
    return _cosine_window(call, (0.42, -0.5, 0.08))


LOWERINGS: tuple[Lowering, ...] = (
    Lowering("HannWindow", 17, lower_hann_window),
    Lowering("HammingWindow", 17, lower_hamming_window),
    Lowering("BlackmanWindow", 17, lower_blackman_window),
    Lowering("DFT", 17, lower_dft),
    Lowering("DFT", 20, lower_dft_20),
    Lowering("STFT", 17, lower_stft),
    Lowering("MelWeightMatrix", 17, lower_mel_weight_matrix),
)
