"""Fourier transforms, windows and mel filters: against numpy and the onnx evaluator."""

from __future__ import annotations

import numpy as np
import pytest
from small_models import check, imported, node

from fusee.base.types import Array
from fusee.ir.reference import run
from fusee.onnx.signal import LONGEST_MATRIX, matrix
from fusee.ops.signal import Fourier, ShortTimeFourier

RNG = np.random.default_rng(5)


def i64(value: int) -> Array:
    return np.array(value, np.int64)


@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_matrix_is_the_transform(length: int) -> None:
    x = RNG.standard_normal((3, length, 2))
    spectrum = np.fft.fft(x[..., 0] + 1j * x[..., 1])
    found = (x.reshape(3, -1) @ matrix(length, 2, False, False)).reshape(3, length, 2)
    np.testing.assert_allclose(found[..., 0] + 1j * found[..., 1], spectrum, atol=1e-12)
    back = (found.reshape(3, -1) @ matrix(length, 2, True, False)).reshape(3, length, 2)
    np.testing.assert_allclose(back, x, atol=1e-12)


@pytest.mark.parametrize("length", [2, 5, 8])
def test_half_a_spectrum_gives_the_real_signal_back(length: int) -> None:
    x = RNG.standard_normal((3, length))
    half = x @ matrix(length, 1, False, True)
    np.testing.assert_allclose(half @ matrix(length, 2, True, True), x, atol=1e-12)


@pytest.mark.parametrize(("shape", "axis"), [((2, 6, 1), 1), ((2, 3, 5, 2), -2), ((2, 3, 5, 2), 1), ((6, 2), 0)])
@pytest.mark.parametrize("inverse", [0, 1])
def test_dft(shape: tuple[int, ...], axis: int, inverse: int) -> None:
    if inverse and shape[-1] == 1:
        shape = (*shape[:-1], 2)
    x = RNG.standard_normal(shape).astype(np.float32)
    shapes = {"x": [*[f"n{i}" for i in range(len(shape) - 1)], shape[-1]]}
    op = node("DFT", ["x", "", "a"], ["y"], inverse=inverse)
    check(op, {"x": x}, operands={"a": i64(axis)}, shapes=shapes)


@pytest.mark.parametrize("length", [4, 8, 11])
def test_dft_cuts_and_fills(length: int) -> None:
    x = RNG.standard_normal((2, 8, 1)).astype(np.float32)
    op = node("DFT", ["x", "l", "a"], ["y"], onesided=1)
    check(op, {"x": x}, operands={"l": i64(length), "a": i64(1)}, shapes={"x": [2, "n", 1]})


def test_long_transforms_run_on_the_host() -> None:
    for length, matrix_product in ((LONGEST_MATRIX, True), (LONGEST_MATRIX + 1, False)):
        x = np.zeros((1, length, 1), np.float32)
        ops = [type(n.op) for n in imported([node("DFT", ["x"], ["y"])], {"x": x}).nodes()]
        assert (Fourier not in ops) == matrix_product


@pytest.mark.parametrize("onesided", [0, 1])
@pytest.mark.parametrize("windowed", [False, True])
def test_stft(onesided: int, windowed: bool) -> None:
    x = RNG.standard_normal((2, 21, 1)).astype(np.float32)
    window = np.hanning(8).astype(np.float32)
    operands = {"s": i64(3), "w": window} if windowed else {"s": i64(3), "l": i64(8)}
    op = node("STFT", ["x", "s", "w" if windowed else "", "" if windowed else "l"], ["y"], onesided=onesided)
    check(op, {"x": x}, operands=operands, shapes={"x": ["b", "n", 1]})


def test_stft_with_a_step_known_only_at_run_time() -> None:
    x = RNG.standard_normal((2, 21, 1)).astype(np.float32)
    graph = imported([node("STFT", ["x", "s", "", "l"], ["y"])], {"x": x, "s": i64(3), "l": i64(8)})
    assert isinstance(graph.outputs[0].op, ShortTimeFourier)
    assert run(graph, {"x": x, "s": i64(3), "l": i64(8)})["y"].shape == (2, 5, 5, 2)


@pytest.mark.parametrize("op", ["HannWindow", "HammingWindow", "BlackmanWindow"])
@pytest.mark.parametrize("periodic", [0, 1])
def test_windows(op: str, periodic: int) -> None:
    graph = imported([node(op, ["n"], ["y"], periodic=periodic)], {"n": i64(9)})
    wanted = {"HannWindow": np.hanning, "HammingWindow": None, "BlackmanWindow": np.blackman}[op]
    found = run(graph, {"n": i64(9)})["y"]
    if wanted is None:
        angles = 2 * np.pi * np.arange(9) / (9 if periodic else 8)
        np.testing.assert_allclose(found, 25 / 46 - 21 / 46 * np.cos(angles), atol=1e-6)
    else:
        np.testing.assert_allclose(found, wanted(10)[:9] if periodic else wanted(9), atol=1e-6)


def test_mel_filters() -> None:
    limits = {"b": i64(8), "l": i64(32), "r": i64(8192), "f": np.float32(0), "t": np.float32(4096)}
    feeds = {n: np.asarray(a) for n, a in limits.items()}
    graph = imported([node("MelWeightMatrix", list(feeds), ["y"])], feeds)
    y = run(graph, feeds)["y"]
    assert y.shape == (17, 8)
    assert (y.max(axis=0) == 1).all()
    assert (y >= 0).all()
    assert (np.diff(y.argmax(axis=0)) >= 0).all()
