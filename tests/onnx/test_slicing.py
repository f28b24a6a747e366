"""Slice, Split, Pad, CenterCropPad: against the onnx evaluator and numpy, fixed and dynamic."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from small_models import check, imported, node

from fusee.base.dims import sym
from fusee.base.errors import ModelError
from fusee.base.types import Array
from fusee.ir.reference import run
from fusee.onnx.slicing import slice_range

X = np.arange(40, dtype=np.float32).reshape(2, 5, 4)
MAX = np.iinfo(np.int64).max


def i64(*values: int) -> Array:
    return np.array(values, np.int64)


@pytest.mark.parametrize("step", [1, 2, 7, -1, -3])
def test_slice_range_means_what_python_means(step: int) -> None:
    row = list(range(5))
    ends = [*range(-7, 8), MAX, -MAX]
    for start, end in itertools.product(ends, ends):
        first, size, _ = slice_range(start, end, step, 5)
        # Walking backwards, ONNX begins with the first element where Python would give nothing.
        low = max(start, -5) if step < 0 else start
        assert [first + i * step for i in range(int(str(size)))] == row[slice(low, end, step)], (start, end)


def test_slice_range_clamps_names() -> None:
    n = sym("N")
    assert slice_range(0, MAX, 1, n) == slice_range(0, n, 1, n) == (0, n, 1)
    assert str(slice_range(0, 3, 1, n)[1]) == "min(3,N)"
    assert [str(d) for d in slice_range(-3, MAX, 1, n)] == ["max(N-3,0)", "max(0,N-max(N-3,0))", "1"]
    assert slice_range(-1, -MAX, -1, n)[2] == -1


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ((0, 1), (2, 3), (0, 1), (1, 1)),
        ((1,), (MAX,), (-1,), (2,)),
        ((-1, 0), (-MAX, 9), (1, 2), (-2, 3)),
        ((3,), (1,), (1,), (1,)),
        ((-9, 4), (9, 0), (2, 1), (1, -1)),
        ((1, 0, 1), (-1, -1, -1), (1, 0, 2), (1, 1, 1)),
    ],
)
def test_slice(starts: tuple[int, ...], ends: tuple[int, ...], axes: tuple[int, ...], steps: tuple[int, ...]) -> None:
    operands = {"s": i64(*starts), "e": i64(*ends), "a": i64(*axes), "t": i64(*steps)}
    check(node("Slice", ["x", "s", "e", "a", "t"], ["y"]), {"x": X}, operands=operands)
    check(node("Slice", ["x", "s", "e", "a", "t"], ["y"]), {"x": X}, operands=operands, opset=10)
    if set(steps) == {1}:
        check(node("Slice", ["x"], ["y"], starts=starts, ends=ends, axes=axes), {"x": X}, opset=9)


def test_slice_without_axes() -> None:
    check(node("Slice", ["x", "s", "e"], ["y"]), {"x": X}, operands={"s": i64(0, 1), "e": i64(1, -1)})
    check(node("Slice", ["x"], ["y"], starts=[0, 1], ends=[1, -1]), {"x": X}, opset=7)
    with pytest.raises(ModelError, match="2 starts, 1 ends, 2 axes, 2 steps"):
        imported([node("Slice", ["x", "s", "e"], ["y"])], {"x": X}, constants={"s": i64(0, 1), "e": i64(1)})
    with pytest.raises(ModelError, match="the step of axis 0 is 0"):
        imported(
            [node("Slice", ["x", "s", "e", "a", "t"], ["y"])],
            {"x": X},
            constants={"s": i64(0), "e": i64(1), "a": i64(0), "t": i64(0)},
        )


def test_one_graph_slices_every_length() -> None:
    nodes = [node("Slice", ["x", "s", "e", "a", "t"], ["y"])]
    operands = {"s": i64(-4), "e": i64(5), "a": i64(1), "t": i64(2)}
    graph = imported(nodes, {"x": X}, constants=operands, shapes={"x": [2, "L", 4]})
    for length in range(1, 9):
        x = np.random.default_rng(length).normal(size=(2, length, 4)).astype(np.float32)
        np.testing.assert_array_equal(run(graph, {"x": x})["y"], x[:, -4:5:2])


def test_split_into_given_sizes() -> None:
    outputs = ("a", "b")
    check(node("Split", ["x", "s"], outputs, axis=1), {"x": X}, outputs, operands={"s": i64(2, 3)})
    check(node("Split", ["x"], outputs, axis=1, split=[4, 1]), {"x": X}, outputs, opset=7)
    check(node("Split", ["x"], outputs, axis=-2, split=[5, 0]), {"x": X}, outputs, opset=11)
    with pytest.raises(ModelError, match=r"parts \[2, 2\] do not add up"):
        imported([node("Split", ["x", "s"], outputs, axis=1)], {"x": X}, outputs, constants={"s": i64(2, 2)})


@pytest.mark.parametrize("opset", [7, 13])
def test_split_equally(opset: int) -> None:
    outputs = ("a", "b")
    check(node("Split", ["x"], outputs, axis=2), {"x": X}, outputs, opset=opset)
    with pytest.raises(ModelError, match="axis of size 5 does not split into 2 equal parts"):
        imported([node("Split", ["x"], outputs, axis=1)], {"x": X}, outputs, opset=opset)


def test_split_with_a_smaller_last_part() -> None:
    outputs = ("a", "b", "c")
    check(node("Split", ["x"], outputs, axis=1, num_outputs=3), {"x": X}, outputs)
    with pytest.raises(ModelError, match="3 parts for 2 outputs"):
        imported([node("Split", ["x"], outputs[:2], axis=1, num_outputs=3)], {"x": X}, outputs[:2])


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_pad(mode: str) -> None:
    operands = {"p": i64(0, 2, 1, 1, 3, 2)}
    check(node("Pad", ["x", "p"], ["y"], mode=mode), {"x": X}, operands=operands)
    if mode != "wrap":
        check(node("Pad", ["x", "p"], ["y"], mode=mode), {"x": X}, operands=operands, opset=13)


def test_pad_by_attributes() -> None:
    graph = imported([node("Pad", ["x"], ["y"], pads=[0, 1, 0, 0, 0, 2], value=3.0)], {"x": X}, opset=9)
    np.testing.assert_array_equal(run(graph, {"x": X})["y"], np.pad(X, ((0, 0), (1, 0), (0, 2)), constant_values=3))


def test_pad_some_axes_with_a_value() -> None:
    operands = {"p": i64(1, 2, 0, 3), "a": i64(2, 0)}
    value = np.array(7, np.float32)
    check(node("Pad", ["x", "p", "v", "a"], ["y"]), {"x": X, "v": value}, operands=operands)
    with pytest.raises(ModelError, match="4 pads for 3 axes"):
        imported([node("Pad", ["x", "p"], ["y"])], {"x": X}, constants={"p": i64(1, 2, 0, 3)})


def test_pad_takes_away() -> None:
    graph = imported([node("Pad", ["x", "p"], ["y"], mode="edge")], {"x": X}, constants={"p": i64(0, -1, 2, 0, -2, 0)})
    np.testing.assert_array_equal(run(graph, {"x": X})["y"], np.pad(X[:, 1:3], ((0, 0), (0, 0), (2, 0)), "edge"))


@pytest.mark.parametrize("target", [(2, 5, 4), (3, 2, 9), (1, 8, 3), (4, 4, 4)])
def test_center_crop_pad(target: tuple[int, ...]) -> None:
    check(node("CenterCropPad", ["x", "t"], ["y"]), {"x": X}, operands={"t": i64(*target)})
    check(node("CenterCropPad", ["x", "t"], ["y"], axes=[-1, 1]), {"x": X}, operands={"t": i64(*target[:2])})
