"""Signal processing that is not a product with a small matrix: long Fourier transforms, mel filter banks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusee.base.dims import Dim, equal, floordiv, mod, select
from fusee.base.errors import ShapeError
from fusee.base.host_signal import fourier, mel_weights, short_time_fourier
from fusee.base.types import Array, DType, TensorType
from fusee.ir.graph import Op, Sample
from fusee.ops.linear import differ


@dataclass(frozen=True)
class Fourier(Op):
    """Discrete Fourier transform over one axis, which only the run may know.

    x[..., N, ..., 1] (real) or x[..., N, ..., 2] (complex) -> [..., length, ..., 2]; with ``onesided`` only
    length // 2 + 1 of it, or if also ``inverse`` the real signal [..., length, ..., 1]. The signal is cut or filled
    with zeros to ``length``. A negative ``axis`` counts from the end. ONNX DFT-20.
    """

    axis: Dim
    length: Dim
    inverse: bool = False
    onesided: bool = False

    on_host: ClassVar[str] = "fourier"

    def infer(self, x: TensorType) -> TensorType:
        if x.rank < 2 or not x.dtype.is_float or x.shape[-1] not in (1, 2):
            raise ShapeError(f"x is {x}; expected floats [..., N, 1] or [..., N, 2]")
        real = self.onesided and self.inverse
        bins = floordiv(self.length, 2) + 1 if self.onesided and not self.inverse else self.length
        axis = mod(self.axis, x.rank)
        sizes = [select(equal(axis, i), bins, n) for i, n in enumerate(x.shape[:-1])]
        return x.with_shape((*sizes, 1 if real else 2))

    def reference(self, x: Array) -> Array:
        return fourier(self.attributes(), x)[0]

    def flops(self, x: TensorType) -> Dim:
        return 40 * x.size

    samples: ClassVar[tuple[Sample, ...]] = ()


Fourier.samples = (
    (Fourier(1, 6), ("f32[2,6,1]",)),
    (Fourier(-2, 7), ("f32[2,3,5,2]",)),
    (Fourier(1, 4), ("f32[2,3,5,2]",)),
    (Fourier(1, 5, onesided=True), ("f32[2,8,1]",)),
    (Fourier(0, 6, inverse=True), ("f32[6,2]",)),
    (Fourier(1, 6, inverse=True, onesided=True), ("f64[2,4,2]",)),
)


@dataclass(frozen=True)
class ShortTimeFourier(Op):
    """Fourier transforms of frames of ``length`` samples, one every ``step`` samples.

    x[B, N, 1] (real) or x[B, N, 2] (complex), window[length] if given -> [B, frames, bins, 2], where ``onesided``
    keeps length // 2 + 1 of the length bins. ONNX STFT-17.
    """

    step: Dim
    length: Dim
    onesided: bool = True

    on_host: ClassVar[str] = "short_time_fourier"

    def infer(self, x: TensorType, *window: TensorType) -> TensorType:
        if x.rank != 3 or not x.dtype.is_float or len(window) > 1:
            raise ShapeError(f"x is {x} with {len(window)} windows; expected floats [B, N, 1 or 2] and at most one")
        frames = floordiv(x.shape[1] - self.length, self.step) + 1
        bins = floordiv(self.length, 2) + 1 if self.onesided else self.length
        return x.with_shape((x.shape[0], frames, bins, 2))

    def reference(self, x: Array, *window: Array) -> Array:
        return short_time_fourier(self.attributes(), x, *window)[0]

    def flops(self, x: TensorType, *window: TensorType) -> Dim:
        return 40 * self.infer(x, *window).size

    samples: ClassVar[tuple[Sample, ...]] = ()


ShortTimeFourier.samples = (
    (ShortTimeFourier(3, 8), ("f32[2,21,1]", "f32[8]")),
    (ShortTimeFourier(4, 7, onesided=False), ("f32[1,30,2]",)),
)


@dataclass(frozen=True)
class MelWeights(Op):
    """Triangular filters that sum the bins of a spectrum into mel bands.

    sample rate, lowest and highest frequency in hertz, one element each -> f32[length // 2 + 1, bands].
    ONNX MelWeightMatrix-17.
    """

    bands: Dim
    length: Dim

    on_host: ClassVar[str] = "mel_weights"

    def infer(self, *limits: TensorType) -> TensorType:
        if len(limits) != 3 or any(differ(t.size, 1) for t in limits):
            raise ShapeError("expected a sample rate and two frequencies, one element each")
        return TensorType(DType.F32, (floordiv(self.length, 2) + 1, self.bands))

    def reference(self, *limits: Array) -> Array:
        return mel_weights(self.attributes(), *limits)[0]

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        return np.array(8192, np.int64), np.array(0.0, np.float32), np.array(4096.0, np.float32)

    samples: ClassVar[tuple[Sample, ...]] = ()


MelWeights.samples = ((MelWeights(8, 16), ("i64[]", "f32[]", "f32[]")),)

SIGNAL_OPS: tuple[type[Op], ...] = (Fourier, ShortTimeFourier, MelWeights)
