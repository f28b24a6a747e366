"""Lowerings of signal processing: Fourier transforms as matrix products, short-time ones as convolutions."""

from __future__ import annotations

import numpy as np

from fusee.base.dims import Dim
from fusee.base.types import Array
from fusee.ir.graph import Value, const
from fusee.onnx.axes import normal_axis
from fusee.onnx.call import Lowering, OnnxCall
from fusee.onnx.loader import element_type
from fusee.ops.binary import Mul
from fusee.ops.elementwise import Cast
from fusee.ops.linear import Conv, MatMul
from fusee.ops.shape import Pad, Reshape, Slice, Transpose
from fusee.ops.signal import Fourier, MelWeights

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
    return _dft(call, int(call.require_const(2, "the axis").ravel()[0]) if call.has(2) else -2)


def _dft(call: OnnxCall, axis: int) -> Value:
    x = call.value(0)
    rank = x.type.rank
    axis = normal_axis(call, axis, rank)
    inverse, onesided = bool(call.int("inverse", 0)), bool(call.int("onesided", 0))
    order = (*[i for i in range(rank - 1) if i != axis], axis, rank - 1)
    moved = Transpose(order)(x, loc=call.loc)
    length = call.dims(1)[0] if call.has(1) else moved.type.shape[-2]
    if inverse and onesided and not call.has(1):
        length = 2 * (length - 1)
    y = _transformed(call, call.ordered(moved), length, inverse, onesided)
    return Transpose(tuple(int(i) for i in np.argsort(order)))(y, loc=call.loc)


def _transformed(call: OnnxCall, x: Value, length: Dim, inverse: bool, onesided: bool) -> Value:
    components = x.type.shape[-1]
    if not isinstance(length, int) or not isinstance(components, int) or length > LONGEST_MATRIX:
        return Fourier(length, inverse, onesided)(x, loc=call.loc)
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
    step = int(call.require_const(1, "frame_step").ravel()[0])
    length = _frame_length(call, window, signal)
    bins = length // 2 + 1 if call.int("onesided", 1) else length
    if not isinstance(parts, int):
        call.refuse(f"the signal is {x.type}; its last axis must be 1 or 2")
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


def _frame_length(call: OnnxCall, window: Value | None, signal: Dim) -> int:
    if call.has(3):
        return int(call.require_const(3, "frame_length").ravel()[0])
    length = window.type.shape[0] if window is not None else signal
    if not isinstance(length, int):
        call.refuse("the frame length is not known at build time; give frame_length as a constant")
    return length


def lower_mel_weight_matrix(call: OnnxCall) -> Value:
    """MelWeightMatrix-17."""
    (bands,), (length,) = call.dims(0), call.dims(1)
    limits = [call.ordered(call.value(2)), call.value(3), call.value(4)]
    y = MelWeights(bands, length)(*limits, loc=call.loc)
    wanted = element_type(call.int("output_datatype", 1), call.where)
    return y if wanted == y.type.dtype else Cast(wanted)(y, loc=call.loc)


LOWERINGS: tuple[Lowering, ...] = (
    Lowering("DFT", 17, lower_dft),
    Lowering("DFT", 20, lower_dft_20),
    Lowering("STFT", 17, lower_stft),
    Lowering("MelWeightMatrix", 17, lower_mel_weight_matrix),
)
