"""Signal processing steps that run on the host at run time: long Fourier transforms, mel filter banks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fusee.base.types import Array


def fourier(attributes: Mapping[str, Any], x: Array) -> tuple[Array]:
    """Discrete Fourier transform of x[..., 1 or 2] over one axis (ONNX DFT-20).

    ``inverse`` and ``onesided`` together give a real signal of ``length``; ``onesided`` alone gives half a spectrum.
    """
    wide = x.astype(np.float64)
    signal = wide[..., 0] + (1j * wide[..., 1] if x.shape[-1] == 2 else 0)
    length, axis = int(attributes["length"]), int(attributes["axis"]) % x.ndim
    if attributes["inverse"] and attributes["onesided"]:
        return (np.fft.irfft(signal, length, axis=axis)[..., None].astype(x.dtype),)
    found = (np.fft.ifft if attributes["inverse"] else np.fft.fft)(signal, length, axis=axis)
    kept = np.take(found, np.arange(length // 2 + 1), axis) if attributes["onesided"] else found
    return (np.stack([kept.real, kept.imag], axis=-1).astype(x.dtype),)


def short_time_fourier(attributes: Mapping[str, Any], x: Array, *window: Array) -> tuple[Array]:
    """Fourier transforms of windowed frames of x[B, N, 1 or 2]: [B, frames, bins, 2] (ONNX STFT-17)."""
    step, length = int(attributes["step"]), int(attributes["length"])
    starts = np.arange((x.shape[1] - length) // step + 1) * step
    frames = x[:, starts[:, None] + np.arange(length)].astype(np.float64)
    if window:
        frames = frames * window[0][:, None]
    whole = {"axis": 2, "length": length, "inverse": False, "onesided": attributes["onesided"]}
    return (fourier(whole, frames)[0].astype(x.dtype),)


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


SIGNAL_FUNCTIONS: dict[str, Callable[..., tuple[Array, ...]]] = {
    "fourier": fourier,
    "short_time_fourier": short_time_fourier,
    "mel_weights": mel_weights,
}
