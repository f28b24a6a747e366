"""Signal processing steps that run on the host at run time: long Fourier transforms, mel filter banks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fusee.base.types import Array


def fourier(attributes: Mapping[str, Any], x: Array) -> tuple[Array]:
    """Discrete Fourier transform of x[..., N, 1 or 2] over its last axis but one (ONNX DFT-20).

    ``inverse`` and ``onesided`` together give a real signal of ``length``; one of ``onesided`` alone half a spectrum.
    """
    wide = x.astype(np.float64)
    signal = wide[..., 0] + (1j * wide[..., 1] if x.shape[-1] == 2 else 0)
    length = int(attributes["length"])
    if attributes["inverse"] and attributes["onesided"]:
        return (np.fft.irfft(signal, length, axis=-1)[..., None].astype(x.dtype),)
    found = (np.fft.ifft if attributes["inverse"] else np.fft.fft)(signal, length, axis=-1)
    kept = found[..., : length // 2 + 1] if attributes["onesided"] else found
    return (np.stack([kept.real, kept.imag], axis=-1).astype(x.dtype),)


def mel_weights(attributes: Mapping[str, Any], *operands: Array) -> tuple[Array]:
    """Triangular filters that sum spectrum bins into mel bands: f32[length // 2 + 1, bands] (ONNX MelWeightMatrix-17).

    ``operands``: sample rate, lowest and highest frequency in hertz, one element each.
    """
    bands, length = int(attributes["bands"]), int(attributes["length"])
    rate, low, high = (float(o.ravel()[0]) for o in operands)
    edges = np.arange(bands + 2) * (_mel(high) - _mel(low)) / (bands + 2) + _mel(low)
    hertz = 700 * np.expm1(edges * np.log(10) / 2595)
    bins = np.floor((length + 1) * hertz / rate).astype(np.int64)
    y = np.zeros((length // 2 + 1, bands), np.float64)
    for band, (left, center, right) in enumerate(zip(bins, bins[1:], bins[2:], strict=False)):
        if center == left:
            y[center, band] = 1
        else:
            y[left : center + 1, band] = np.arange(center - left + 1) / (center - left)
        if right > center:
            y[center:right, band] = (right - np.arange(center, right)) / (right - center)
    return (y.astype(np.float32),)


def _mel(hertz: float) -> float:
    return float(2595 * np.log10(1 + hertz / 700))


SIGNAL_FUNCTIONS: dict[str, Callable[..., tuple[Array, ...]]] = {"fourier": fourier, "mel_weights": mel_weights}
