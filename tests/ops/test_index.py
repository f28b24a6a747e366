"""Gather, scatter, one-hot, top-k: values against loops over every element, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from fusee.base.dims import sym
from fusee.base.errors import ShapeError
from fusee.base.types import Array, TensorType
from fusee.ir.graph import Op
from fusee.ops.index import Gather, GatherElements, GatherNd, OneHot, ScatterElements, ScatterNd, TensorScatter, TopK
from fusee.ops.selection import Compress, NonZero, Unique

CUBE = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
n = sym("n")


def infer(op: Op, *types: str) -> str:
    return ", ".join(map(str, op.result_types(*map(TensorType.parse, types))))


def test_gather_counts_negative_indices_from_the_end() -> None:
    indices = np.array([[0, -1], [2, -3]])
    found = Gather(1).reference(CUBE, indices)
    for i, j in np.ndindex(2, 2):
        np.testing.assert_array_equal(found[:, i, j], CUBE[:, indices[i, j]])
    assert infer(Gather(1), "f32[N,3,H]", "i64[B,2]") == "f32[N,B,2,H]"
    with pytest.raises(ShapeError, match="must be i64 or i32"):
        infer(Gather(0), "f32[3]", "f32[2]")
    with pytest.raises(ShapeError, match="axis 2 is not one of the 2 axes"):
        infer(Gather(2), "f32[3,3]", "i64[2]")


def test_gather_elements() -> None:
    indices = np.array([[[0, -1, 1], [2, 0, 0]]])
    found = GatherElements(1).reference(CUBE, indices)
    for i, j, k in np.ndindex(1, 2, 3):
        assert found[i, j, k] == CUBE[i, indices[i, j, k], k]


def test_gather_nd_walks_batches_together() -> None:
    indices = np.array([[[0, 1]], [[2, -1]]])
    np.testing.assert_array_equal(GatherNd(1).reference(CUBE, indices), [[CUBE[0, 0, 1]], [CUBE[1, 2, -1]]])
    np.testing.assert_array_equal(GatherNd().reference(CUBE, np.array([[1, 2], [0, 0]])), [CUBE[1, 2], CUBE[0, 0]])
    assert infer(GatherNd(1), "f32[N,3,H,5]", "i64[N,7,2]") == "f32[N,7,5]"
    with pytest.raises(ShapeError, match="at most 2"):
        infer(GatherNd(), "f32[3,3]", "i64[4,3]")
    with pytest.raises(ShapeError, match="last axis of indices"):
        infer(GatherNd(), "f32[3,3]", "i64[4,N]")


COMBINED = {
    "add": [15, 1, 22],
    "mul": [0, 1, 40],
    "max": [10, 1, 20],
    "min": [0, 1, 2],
}


@pytest.mark.parametrize("reduction", COMBINED)
def test_scatter_combines_with_what_is_there(reduction: str) -> None:
    x, updates = np.array([0, 1, 2]), np.array([5, 10, 20])
    found = ScatterElements(0, reduction).reference(x, np.array([0, -3, 2]), updates)
    np.testing.assert_array_equal(found, COMBINED[reduction])
    np.testing.assert_array_equal(x, [0, 1, 2])
    pairs = np.array([[0], [-3], [2]])
    np.testing.assert_array_equal(ScatterNd(reduction).reference(x, pairs, updates), COMBINED[reduction])


def test_scatter_of_narrow_floats_rounds_once() -> None:
    x, ones = np.array([2048], np.float16), np.ones(8, np.float16)
    found = ScatterElements(0, "add").reference(x, np.zeros(8, np.int64), ones)
    assert found[0] == 2056  # one by one, f16 would stay at 2048


def test_scatter_nd_puts_whole_slices() -> None:
    found = ScatterNd().reference(CUBE, np.array([[1]]), np.zeros((1, 3, 4), np.float32))
    np.testing.assert_array_equal(found, np.stack([CUBE[0], np.zeros((3, 4))]))
    with pytest.raises(ShapeError, match=r"expected f32\[1,3,4\]"):
        infer(ScatterNd(), "f32[2,3,4]", "i64[1,1]", "f32[1,3,5]")
    with pytest.raises(ShapeError, match="reduction 'mean' is not one of"):
        infer(ScatterNd("mean"), "f32[2]", "i64[1,1]", "f32[1]")


@pytest.mark.parametrize("circular", [True, False])
def test_tensor_scatter_writes_from_each_position_on(circular: bool) -> None:
    cache, update = np.zeros((2, 5, 1)), np.array([[[1], [2]], [[3], [4]]])
    found = TensorScatter(1, circular).reference(cache, update, np.array([0, 4 if circular else 3]))
    expected = [[1, 2, 0, 0, 0], [4, 0, 0, 0, 3] if circular else [0, 0, 0, 3, 4]]
    np.testing.assert_array_equal(found[..., 0], expected)


def test_one_hot_is_all_off_outside() -> None:
    found = OneHot(0, 3).reference(np.array([0, -1, 3, -4]), np.array([7, 9]))
    np.testing.assert_array_equal(found, [[9, 7, 7, 7], [7, 7, 7, 7], [7, 9, 7, 7]])
    assert infer(OneHot(1, n), "i64[N,2]", "f16[2]") == "f16[N,n,2]"


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int64])
def test_top_k_gives_the_first_of_equals(largest: bool, dtype: type) -> None:
    x = np.random.default_rng(0).integers(0, 6, (4, 11)).astype(dtype)
    values, positions = TopK(5, 1, largest).reference(x)
    for row, found in zip(x.tolist(), positions.tolist(), strict=True):
        assert found == sorted(range(11), key=lambda i: (-row[i] if largest else row[i], i))[:5]
    np.testing.assert_array_equal(values, np.take_along_axis(x, positions, 1))
    with pytest.raises(ShapeError, match="only 3 elements"):
        infer(TopK(4, 0), "f32[3]")


def selected(op: Op, *arrays: Array) -> list[list[float]]:
    return [a.tolist() for a in op.compute(*arrays)]


def test_sizes_that_come_from_data_are_names() -> None:
    assert infer(NonZero(n), "f32[N,3]") == "i64[2,n]"
    assert NonZero(n).defined_symbols() == {"n"}
    assert infer(Compress(1, n), "f32[N,3]", "bool[3]") == "f32[N,n]"
    assert infer(Unique(None, True, n), "f32[N,3]") == "f32[n], i64[n], i64[3*N], i64[n]"
    assert infer(Unique(1, True, n), "f32[N,3]") == "f32[N,n], i64[n], i64[3], i64[n]"


def test_selections() -> None:
    assert selected(NonZero(n), np.array([[0, 2], [3, 0]])) == [[[0, 1], [1, 0]]]
    assert NonZero(n).compute(np.array(5))[0].shape == (0, 1)
    assert selected(Compress(None, n), CUBE[0], np.array([False, True, True])) == [[1, 2]]
    assert selected(Compress(1, n), CUBE[0], np.array([False, True])) == [[[1], [5], [9]]]


def test_unique_in_both_orders() -> None:
    x = np.array([2, 1, 1, 3, 4, 3])
    assert selected(Unique(None, False, n), x) == [[2, 1, 3, 4], [0, 1, 3, 4], [0, 1, 1, 2, 3, 2], [1, 2, 2, 1]]
    assert selected(Unique(None, True, n), x) == [[1, 2, 3, 4], [1, 0, 3, 4], [1, 0, 0, 2, 3, 2], [2, 1, 2, 1]]
    rows = np.array([[1, 0], [0, 5], [1, 0]])
    assert selected(Unique(0, False, n), rows) == [[[1, 0], [0, 5]], [0, 1], [0, 1, 0], [2, 1]]
