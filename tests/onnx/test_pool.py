"""Pools: against the onnx evaluator, with fixed and named sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_models import check, imported, node

from fusee.base.errors import UnsupportedModel
from fusee.base.types import Array
from fusee.ir.reference import run


def random(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


WINDOWS: tuple[dict[str, Any], ...] = (
    {"kernel_shape": [3, 2]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [0, 1, 2, 0]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [2, 2], "dilations": [2, 3]},
)


# The onnx evaluator scales the norm of windows that hang over; ONNX Runtime does not, and neither do we.
POOLS = [(op, w) for op in ("MaxPool", "AveragePool", "LpPool") for w in WINDOWS]
POOLS.remove(("LpPool", WINDOWS[3]))


@pytest.mark.parametrize(("op", "window"), POOLS)
def test_pool(op: str, window: dict[str, Any]) -> None:
    check(node(op, ["x"], ["y"], **window), {"x": random(2, 3, 8, 9)})


@pytest.mark.parametrize("window", [{"kernel_shape": [3], "strides": [2], "pads": [1, 0]}])
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
def test_pool_over_one_axis(op: str, window: dict[str, Any]) -> None:
    check(node(op, ["x"], ["y"], **window), {"x": random(2, 3, 9)})


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("include", [0, 1])
def test_automatic_padding_is_the_same_for_named_sizes(op: str, auto_pad: str, include: int) -> None:
    x = random(1, 2, 7, 10)
    rest = {"count_include_pad": include} if op == "AveragePool" else {}
    pool = node(op, ["x"], ["y"], kernel_shape=[3, 4], strides=[2, 3], auto_pad=auto_pad, **rest)
    fixed = run(imported([pool], {"x": x}), {"x": x})["y"]
    named = run(imported([pool], {"x": x}, shapes={"x": ["n", 2, "h", "w"]}), {"x": x})["y"]
    assert fixed.shape == (1, 2, 4, 4)
    np.testing.assert_allclose(named, fixed, rtol=1e-6)


@pytest.mark.parametrize("ceil_mode", [0, 1])
def test_average_counts_padding_but_not_what_hangs_over(ceil_mode: int) -> None:
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": ceil_mode}
    check(node("AveragePool", ["x"], ["y"], count_include_pad=1, **window), {"x": random(1, 2, 6, 7)})


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 5), (1, 2, 3, 4, 2)])
def test_global_pool(shape: tuple[int, ...]) -> None:
    x, axes = random(*shape), tuple(range(2, len(shape)))
    for op, fold in (("GlobalAveragePool", np.mean), ("GlobalMaxPool", np.max)):
        y = run(imported([node(op, ["x"], ["y"])], {"x": x}), {"x": x})["y"]
        np.testing.assert_allclose(y, fold(x, axis=axes, keepdims=True), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_global_lp_pool(p: int) -> None:
    x = random(2, 3, 4, 5)
    y = run(imported([node("GlobalLpPool", ["x"], ["y"], p=p)], {"x": x}), {"x": x})["y"]
    np.testing.assert_allclose(y, np.linalg.norm(x.reshape(2, 3, 20), p, axis=2)[..., None, None], rtol=1e-5)


@pytest.mark.parametrize("window", [WINDOWS[0], WINDOWS[1], WINDOWS[2]])
@pytest.mark.parametrize("order", [0, 1])
def test_indices_of_maxima(window: dict[str, Any], order: int) -> None:
    op = node("MaxPool", ["x"], ["y", "i"], storage_order=order, **window)
    x = random(2, 3, 8, 9)
    found = run(imported([op], {"x": x}, ("y", "i")), {"x": x})
    plane, position = np.divmod(found["i"], 72)
    n, c = np.divmod(plane, 3)
    row, column = np.divmod(position, 9) if order == 0 else np.divmod(position, 8)[::-1]
    np.testing.assert_array_equal(x[n, c, row, column], found["y"])


def test_indices_with_automatic_padding_need_known_sizes() -> None:
    op = node("MaxPool", ["x"], ["y", "i"], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    with pytest.raises(UnsupportedModel, match="indices of a pool whose padding depends on sizes"):
        imported([op], {"x": random(1, 2, 7, 7)}, ("y", "i"), shapes={"x": [1, 2, "h", "w"]})


def test_unpool_undoes_a_pool() -> None:
    x = random(1, 2, 4, 6)
    pool = node("MaxPool", ["x"], ["p", "i"], kernel_shape=[2, 2], strides=[2, 2])
    unpool = node("MaxUnpool", ["p", "i"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    y = run(imported([pool, unpool], {"x": x}), {"x": x})["y"]
    assert y.shape == x.shape
    np.testing.assert_array_equal(y[y != 0], x[y != 0])
    assert np.count_nonzero(y) == 12


def test_integers_pool_too() -> None:
    x = np.random.default_rng(0).integers(-128, 0, (1, 2, 6, 7)).astype(np.int8)
    op = node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    y = run(imported([op], {"x": x}), {"x": x})["y"]
    wide = run(imported([op], {"x": x.astype(np.float32)}), {"x": x.astype(np.float32)})["y"]
    np.testing.assert_array_equal(y, wide.astype(np.int8))
