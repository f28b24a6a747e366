"""Ops that move elements: values against slow definitions, types with names, and what they refuse."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fusee.base.dims import sym
from fusee.base.errors import ShapeError
from fusee.base.types import I64, Array, TensorType
from fusee.ir.graph import Op
from fusee.ops.shape import (
    Concat,
    DimsTensor,
    Expand,
    Full,
    Pad,
    Range,
    Reshape,
    ReverseSequence,
    Slice,
    Transpose,
    Trilu,
)

N, H = sym("N"), sym("H")
GRID = np.arange(15, dtype=np.float32).reshape(3, 5)


def infer(op: Op, *types: str) -> str:
    return ", ".join(map(str, op.result_types(*map(TensorType.parse, types))))


def test_reshape_keeps_order_and_checks_the_number_of_elements() -> None:
    np.testing.assert_array_equal(Reshape((5, 3)).reference(GRID), GRID.ravel().reshape(5, 3))
    assert infer(Reshape((N, 3 * H)), "f32[N,3,H]") == "f32[N,3*H]"
    with pytest.raises(ShapeError, match=r"f32\[2,3\] to f32\[7\]: the numbers of elements differ"):
        infer(Reshape((7,)), "f32[2,3]")
    with pytest.raises(ShapeError, match="numbers of elements differ"):
        infer(Reshape((N, 2)), "f32[2*N+1]")


def test_reshape_takes_unlike_expressions_to_be_equal() -> None:
    assert infer(Reshape((H, 4)), "f32[N]") == "f32[H,4]"


def test_transpose_permutes_names() -> None:
    assert infer(Transpose((2, 0, 1)), "i8[N,3,H]") == "i8[H,N,3]"
    with pytest.raises(ShapeError, match="is not a permutation of the 2 axes"):
        infer(Transpose((0, 0)), "f32[2,3]")


def test_expand_repeats_axes_of_one() -> None:
    column = GRID[:, :1]
    np.testing.assert_array_equal(Expand((2, 3, 4)).reference(column), np.stack([np.repeat(column, 4, 1)] * 2))
    assert infer(Expand((N, 3, H)), "f32[3,1]") == "f32[N,3,H]"
    with pytest.raises(ShapeError, match="cannot expand"):
        infer(Expand((4, 5)), "f32[3,5]")
    with pytest.raises(ShapeError, match="cannot expand"):
        infer(Expand((5,)), "f32[1,5]")


@pytest.mark.parametrize(("start", "size", "step"), [(0, 5, 1), (1, 2, 2), (4, 5, -1), (3, 2, -3), (2, 0, 1)])
def test_slice_takes_the_elements_it_names(start: int, size: int, step: int) -> None:
    found = Slice((1, start), (2, size), (1, step)).reference(GRID)
    expected = [[GRID[1 + r, start + i * step] for i in range(size)] for r in range(2)]
    np.testing.assert_array_equal(found, np.array(expected).reshape(2, size))


def test_slice_refuses_elements_that_do_not_exist() -> None:
    assert infer(Slice((0, H), (N, 3), (1, 1)), "f32[N,9]") == "f32[N,3]"
    for op in (Slice((3,), (3,), (1,)), Slice((1,), (3,), (-1,)), Slice((-1,), (1,), (1,))):
        with pytest.raises(ShapeError, match=r"axis 0: element -?[0-9]+ of an axis of size 5"):
            infer(op, "f32[5]")
    with pytest.raises(ShapeError, match="element N of an axis of size N"):
        infer(Slice((N,), (1,), (1,)), "f32[N]")


def padded_slowly(x: Array, before: int, after: int, mode: str) -> list[float]:
    """Walks outwards one element at a time, as the words of the definition say."""
    row = list(x)
    n = len(row)

    def inside(p: int) -> float:
        if mode == "edge":
            return row[min(max(p, 0), n - 1)]
        while not 0 <= p < n:
            if mode == "wrap":
                p += n if p < 0 else -n
            else:
                p = -p if p < 0 else 2 * (n - 1) - p
        return row[p]

    return [inside(p) for p in range(-before, n + after)]


@pytest.mark.parametrize("mode", ["edge", "wrap", "reflect"])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (2, 1), (7, 9)])
def test_pad_continues_the_axis(mode: str, before: int, after: int) -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0], np.float32)
    found = Pad((before,), (after,), mode).reference(x)
    np.testing.assert_array_equal(found, padded_slowly(x, before, after, mode))


def test_pad_with_numpy_for_several_axes() -> None:
    for mode in ("edge", "wrap", "reflect"):
        np.testing.assert_array_equal(
            Pad((2, 1), (1, 3), mode).reference(GRID),
            np.pad(GRID, ((2, 1), (1, 3)), mode=mode),  # pyright: ignore[reportArgumentType, reportCallIssue]
        )


def test_pad_constant_takes_away_first() -> None:
    found = Pad((-1, 2), (1, -3)).reference(GRID, np.float32(9))
    np.testing.assert_array_equal(found, [[9, 9, 5, 6], [9, 9, 10, 11], [9, 9, 9, 9]])
    assert infer(Pad((1, 0), (1, H)), "f32[N,2]", "f32[]") == "f32[N+2,H+2]"


def test_pad_says_what_is_wrong() -> None:
    with pytest.raises(ShapeError, match="a value is needed for mode constant"):
        infer(Pad((1,), (1,)), "f32[3]")
    with pytest.raises(ShapeError, match="take away more than"):
        infer(Pad((-2,), (-2,)), "f32[3]", "f32[]")
    with pytest.raises(ShapeError, match=r"must be f32\[\]"):
        infer(Pad((1,), (1,)), "f32[3]", "i64[]")


def test_concat_adds_names() -> None:
    assert infer(Concat(1), "f32[N,2]", "f32[N,H]", "f32[N,3]") == "f32[N,H+5]"
    with pytest.raises(ShapeError, match="2 is not 3"):
        infer(Concat(0), "f32[4,2]", "f32[4,3]")
    with pytest.raises(ShapeError, match="different element types"):
        infer(Concat(0), "f32[4]", "i64[4]")


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("k", [-4, -1, 0, 2, 9])
def test_trilu_keeps_a_triangle(upper: bool, k: int) -> None:
    expected = np.triu(GRID, k) if upper else np.tril(GRID, k)
    np.testing.assert_array_equal(Trilu(upper, k).reference(GRID), expected)


def test_range_rounds_once() -> None:
    start, delta = np.array(0, np.float16), np.array(0.1, np.float16)
    found = Range(100).reference(start, delta)
    np.testing.assert_array_equal(found, (np.arange(100) * np.float32(delta)).astype(np.float16))
    np.testing.assert_array_equal(Range(3).reference(np.array(5, np.int64), np.array(-2, np.int64)), [5, 3, 1])


def test_full_and_dims_take_names() -> None:
    assert infer(Full((N, 2 * H)), "u8[]") == "u8[N,2*H]"
    op = DimsTensor((N, 2 * H + 1)).bind({"N": 3, "H": 4})
    np.testing.assert_array_equal(op.compute()[0], [3, 9])
    assert DimsTensor((N,)).result_types() == (TensorType(I64, (1,)),)


@pytest.mark.parametrize(("batch", "time"), list(itertools.permutations(range(3), 2)))
def test_reverse_sequence_on_any_axes(batch: int, time: int) -> None:
    x = np.arange(24).reshape(2, 3, 4)
    lengths = np.arange(x.shape[batch]) % (x.shape[time] + 1)
    found = ReverseSequence(batch, time).reference(x, lengths)
    for b, n in enumerate(lengths):
        entry = np.moveaxis(x, (batch, time), (0, 1))[b]
        expected = np.concatenate([entry[:n][::-1], entry[n:]])
        np.testing.assert_array_equal(np.moveaxis(found, (batch, time), (0, 1))[b], expected)
