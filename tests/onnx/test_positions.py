"""Gather, scatter, one-hot, top-k, non-zero, unique and their like: against the onnx evaluator, fixed and dynamic."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from small_models import assert_same, check, imported, named, node

from fusee.base.errors import ModelError
from fusee.base.types import Array
from fusee.ir.graph import Const
from fusee.ir.reference import run

X = np.random.default_rng(3).normal(size=(3, 4, 5)).astype(np.float32)


def ints(*shape: int, low: int, high: int, dtype: type = np.int64) -> Array:
    return np.random.default_rng(5).integers(low, high, shape).astype(dtype)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_gather(axis: int, dtype: type) -> None:
    check(node("Gather", ["x", "i"], ["y"], axis=axis), {"x": X, "i": ints(2, 3, low=-3, high=3, dtype=dtype)})
    check(node("Gather", ["x", "i"], ["y"], axis=axis), {"x": X, "i": np.array(1, dtype)}, opset=7)


def test_gather_elements() -> None:
    inputs = {"x": X, "i": ints(3, 4, 2, low=-5, high=5)}
    for shapes in ({}, named(inputs)):
        graph = imported([node("GatherElements", ["x", "i"], ["y"], axis=-1)], inputs, shapes=shapes)
        np.testing.assert_array_equal(run(graph, inputs)["y"], np.take_along_axis(X, inputs["i"], 2))


@pytest.mark.parametrize(("batch_dims", "shape"), [(0, (6, 2)), (1, (3, 2, 1)), (0, (2, 2, 3)), (2, (3, 4, 1))])
def test_gather_nd(batch_dims: int, shape: tuple[int, ...]) -> None:
    inputs = {"x": X, "i": ints(*shape, low=0, high=3)}
    batch = ["A", "B"][:batch_dims]
    shapes = {"x": ["A", "B", "C"], "i": [*batch, *shape[batch_dims:]]}
    check(node("GatherND", ["x", "i"], ["y"], batch_dims=batch_dims), inputs, shapes=shapes)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter_elements(reduction: str) -> None:
    indices = np.array([[0, 2, 1], [-1, 0, 2]])
    inputs = {"x": X[0, :3, :4], "i": indices, "u": X[1, :2, :3]}
    scatter = node("ScatterElements", ["x", "i", "u"], ["y"], axis=1, reduction=reduction)
    check(scatter, inputs, shapes={"x": ["A", "B"]})
    if reduction == "none":
        old = imported([node("Scatter", ["x", "i", "u"], ["y"], axis=1)], inputs, opset=9)
        assert_same(run(old, inputs), run(imported([scatter], inputs), inputs))


def test_scatter_refuses_an_unknown_reduction() -> None:
    inputs = {"x": X[0], "i": np.array([[0]]), "u": X[0, :1, :1]}
    with pytest.raises(ModelError, match="reduction 'mean' is not one of none, add"):
        imported([node("ScatterElements", ["x", "i", "u"], ["y"], reduction="mean")], inputs)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter_nd(reduction: str) -> None:
    inputs = {"x": X, "i": np.array([[0, 1], [2, -1]]), "u": X[0, :2] * 2}
    check(node("ScatterND", ["x", "i", "u"], ["y"], reduction=reduction), inputs, shapes={"x": ["A", "B", 5]})


@pytest.mark.parametrize("mode", ["linear", "circular"])
def test_tensor_scatter(mode: str) -> None:
    inputs = {"c": X, "u": X[:, :2] + 9}
    shapes = {"c": ["B", "T", 5], "u": ["B", "S", 5]}
    check(node("TensorScatter", ["c", "u"], ["y"], mode=mode), inputs, shapes=shapes)
    inputs["i"] = np.array([1, 2, 0 if mode == "linear" else 3])
    check(node("TensorScatter", ["c", "u", "i"], ["y"], mode=mode, axis=1), inputs, shapes={**shapes, "i": ["B"]})


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot(axis: int) -> None:
    inputs = {"i": np.array([[0, -1, 7], [6, -8, 2]]), "v": np.array([0.5, 2], np.float32)}
    rows = np.concatenate([np.eye(7), np.zeros((2, 7)), np.eye(7)[1:]])[inputs["i"]]
    wanted = np.moveaxis(0.5 + 1.5 * rows, -1, axis)
    one_hot = [node("OneHot", ["i", "d", "v"], ["y"], axis=axis)]
    for depth in (np.array(7), np.array([7]), np.array(7.0, np.float32)):
        fixed = imported(one_hot, inputs, constants={"d": depth}, shapes={"i": ["N", 3]})
        np.testing.assert_array_equal(run(fixed, inputs)["y"], wanted)
        given = {**inputs, "d": depth}
        np.testing.assert_array_equal(run(imported(one_hot, given), given)["y"], wanted)


def test_one_hot_of_opset_9_knows_no_negative_index() -> None:
    inputs = {"i": np.array([0.0, -1.0, 2.0], np.float32)}
    constants = {"d": np.array(3), "v": np.array([0, 1])}
    graph = imported([node("OneHot", ["i", "d", "v"], ["y"])], inputs, constants=constants, opset=9)
    np.testing.assert_array_equal(run(graph, inputs)["y"], [[1, 0, 0], [0, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize("largest", [0, 1])
def test_top_k(largest: int) -> None:
    outputs = ("values", "positions")
    x = np.round(X * 2)  # with ties
    for k in (0, 1, 4):
        top = node("TopK", ["x", "k"], outputs, axis=1, largest=largest)
        check(top, {"x": x}, outputs, operands={"k": np.array([k])})
    check(node("TopK", ["x", "k"], outputs, axis=-1), {"x": x}, outputs, operands={"k": np.array([2])}, opset=10)
    check(node("TopK", ["x"], outputs, axis=1, k=2), {"x": X}, outputs, opset=9)


def test_non_zero() -> None:
    for x in (np.round(X), X > 0, np.zeros((2, 2), np.int64)):
        check(node("NonZero", ["x"], ["y"]), {"x": x})
    weight = imported([node("NonZero", ["w"], ["y"])], {}, constants={"w": np.array([0, 3, 0, 4])}).outputs[0]
    assert isinstance(weight.op, Const)
    np.testing.assert_array_equal(weight.op.value, [[1, 3]])


def test_compress() -> None:
    for axis, keep in ((0, [True, False, True]), (-1, [False, True, True])):
        check(node("Compress", ["x", "c"], ["y"], axis=axis), {"x": X, "c": np.array(keep)})
    check(node("Compress", ["x", "c"], ["y"]), {"x": X, "c": np.arange(60) % 7 == 0}, opset=9)


def test_what_follows_a_size_found_at_run_time() -> None:
    """Boxes above a threshold: non-zero positions gather rows, and the number of rows shapes what follows."""
    nodes = [
        node("Greater", ["scores", "threshold"], ["above"]),
        node("NonZero", ["above"], ["found"]),
        node("Squeeze", ["found", "axis"], ["rows"]),
        node("Gather", ["boxes", "rows"], ["kept"]),
        node("Shape", ["kept"], ["shape"]),
        node("Expand", ["one", "shape"], ["ones"]),
        node("Concat", ["kept", "ones"], ["y"], axis=1),
    ]
    constants = {"threshold": np.array(0.5, np.float32), "axis": np.array([0]), "one": np.ones(1, np.float32)}
    inputs = {"scores": np.array([0.1, 0.9, 0.7, 0.2], np.float32), "boxes": X[0]}
    graph = imported(nodes, inputs, constants=constants, shapes={"scores": ["N"], "boxes": ["N", 5]})
    for threshold_kept in (0, 2, 4):
        scores = np.where(np.arange(4) < threshold_kept, 1, 0).astype(np.float32)
        found = run(graph, {"scores": scores, "boxes": X[0]})["y"]
        kept = X[0][scores > 0.5]
        np.testing.assert_array_equal(found, np.concatenate([kept, np.ones_like(kept)], axis=1))


UNIQUE = {
    (1, None): ([0, 1, 2], [4, 1, 0], [2, 1, 2, 2, 0, 2, 2, 1, 2], [1, 2, 6]),
    (0, None): ([2, 1, 0], [0, 1, 4], [0, 1, 0, 0, 2, 0, 0, 1, 0], [6, 2, 1]),
    (1, 0): ([[2, 0, 2], [2, 1, 2]], [1, 0], [1, 0, 1], [1, 2]),
    (0, 0): ([[2, 1, 2], [2, 0, 2]], [0, 1], [0, 1, 0], [2, 1]),
    (1, -1): ([[1, 2], [0, 2], [1, 2]], [1, 0], [1, 0, 1], [1, 2]),
    (0, -1): ([[2, 1], [2, 0], [2, 1]], [0, 1], [0, 1, 0], [2, 1]),
}


@pytest.mark.parametrize(("sorted_", "axis"), UNIQUE)
def test_unique(sorted_: int, axis: int | None) -> None:
    outputs = ("values", "first", "inverse", "counts")
    x = np.array([[2, 1, 2], [2, 0, 2], [2, 1, 2]], np.float32)
    chosen = {} if axis is None else {"axis": axis}
    unique = node("Unique", ["x"], outputs, sorted=sorted_, **chosen)
    graph = imported([unique], {"x": x}, outputs, shapes=named({"x": x}))
    found = run(graph, {"x": x})
    assert tuple(found[name].tolist() for name in outputs) == UNIQUE[sorted_, axis]


def test_microsoft_unique_keeps_the_order() -> None:
    nodes = [helper.make_node("Unique", ["x"], ["y", "i", "c"], domain="com.microsoft")]
    x = np.array([2, 1, 1, 3, 4, 3], np.float32)
    found = run(imported(nodes, {"x": x}, ("y", "i", "c"), domain="com.microsoft"), {"x": x})
    assert [found[n].tolist() for n in "yic"] == [[2, 1, 3, 4], [0, 1, 1, 2, 3, 2], [1, 2, 2, 1]]


def test_reverse_sequence() -> None:
    inputs = {"x": X, "n": np.array([2, 4, 0, 1])}
    shapes = {"x": ["T", "B", 5], "n": ["B"]}
    check(node("ReverseSequence", ["x", "n"], ["y"]), {**inputs, "n": inputs["n"].clip(0, 3)}, shapes=shapes)
    inputs = {"x": X, "n": np.array([2, 4, 1])}
    shapes = {"x": ["B", "T", 5], "n": ["B"]}
    check(node("ReverseSequence", ["x", "n"], ["y"], batch_axis=0, time_axis=1), inputs, shapes=shapes)


def test_array_feature_extractor() -> None:
    nodes = [helper.make_node("ArrayFeatureExtractor", ["x", "i"], ["y"], domain="ai.onnx.ml")]
    for x, expected in ((X[0], X[0][:, [3, 0]]), (X[0, 0], X[0, :1][:, [3, 0]])):
        inputs = {"x": x, "i": np.array([3, 0])}
        np.testing.assert_array_equal(run(imported(nodes, inputs, domain="ai.onnx.ml"), inputs)["y"], expected)
