"""Reshape, squeeze, transpose, expand, tile, concat, blocks: against the onnx evaluator, fixed and dynamic."""

from __future__ import annotations

import numpy as np
import pytest
from small_models import check, imported, node

from fusee.base.errors import ModelError
from fusee.base.types import Array
from fusee.ir.reference import run

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def i64(*values: int) -> Array:
    return np.array(values, np.int64)


@pytest.mark.parametrize("shape", [(4, 6), (0, -1), (-1,), (2, 0, 4, 1), (0, 0, 0), (3, -1, 2)])
@pytest.mark.parametrize("opset", [7, 13, 25])
def test_reshape(shape: tuple[int, ...], opset: int) -> None:
    check(node("Reshape", ["x", "shape"], ["y"]), {"x": X}, operands={"shape": i64(*shape)}, opset=opset)


def test_reshape_with_zeros_that_mean_zero() -> None:
    empty = np.zeros((2, 0, 3), np.float32)
    check(node("Reshape", ["x", "s"], ["y"], allowzero=1), {"x": empty}, operands={"s": i64(0, 5)})


def test_reshape_to_a_shape_that_the_graph_computes() -> None:
    nodes = [
        node("Shape", ["x"], ["all"]),
        node("Slice", ["all", "first", "second"], ["batch"]),
        node("Concat", ["batch", "rest"], ["shape"], axis=0),
        node("Reshape", ["x", "shape"], ["y"]),
    ]
    constants = {"first": i64(0), "second": i64(1), "rest": i64(-1)}
    graph = imported(nodes, {"x": X}, constants=constants, shapes={"x": ["N", "H", 4]})
    assert str(graph.outputs[0].type) == "f32[N,4*H]"
    assert [type(n.op).__name__ for n in graph.nodes()] == ["Input", "Reshape"]


def test_reshape_says_what_does_not_fit() -> None:
    reshape = [node("Reshape", ["x", "shape"], ["y"], "cut")]
    with pytest.raises(ModelError, match=r"from cut.*f32\[2,3,4\] to f32\[5\]: the numbers of elements differ"):
        imported(reshape, {"x": X}, constants={"shape": i64(5)})
    with pytest.raises(ModelError, match="has more than one -1"):
        imported(reshape, {"x": X}, constants={"shape": i64(-1, -1)})
    with pytest.raises(ModelError, match="copies a size that"):
        imported(reshape, {"x": X}, constants={"shape": i64(24, 1, 1, 0)})


@pytest.mark.parametrize("axis", [0, 1, 3, -1, -3])
def test_flatten(axis: int) -> None:
    check(node("Flatten", ["x"], ["y"], axis=axis), {"x": X})
    check(node("Flatten", ["x"], ["y"]), {"x": X}, opset=9)


@pytest.mark.parametrize("axes", [(0,), (1, -1), (1, 3)])
def test_squeeze(axes: tuple[int, ...]) -> None:
    x = X.reshape(1, 1, 24, 1)
    check(node("Squeeze", ["x", "axes"], ["y"]), {"x": x}, operands={"axes": i64(*axes)})
    positive = [a % 4 for a in axes]
    check(node("Squeeze", ["x"], ["y"], axes=positive), {"x": x}, opset=11)


def test_squeeze_without_axes_never_gives_another_rank() -> None:
    x = X.reshape(1, 24, 1)
    squeeze = node("Squeeze", ["x"], ["y"])
    check(squeeze, {"x": x}, shapes={"x": [1, "N", 1]})
    graph = imported([squeeze], {"x": x}, shapes={"x": ["N", 24, 1]})
    assert graph.outputs[0].type.rank == 2
    assert run(graph, {"x": np.zeros((5, 24, 1), np.float32)})["y"].shape == (5, 24)
    with pytest.raises(ValueError, match="cannot reshape"):
        run(graph, {"x": x})
    with pytest.raises(ModelError, match=r"axis 1 of f32\[1,24,1\] has not size 1"):
        imported([node("Squeeze", ["x", "axes"], ["y"])], {"x": x}, constants={"axes": i64(1)})


@pytest.mark.parametrize("axes", [(0,), (2,), (-1,), (0, 4), (3, 1), (-2, 0)])
def test_unsqueeze(axes: tuple[int, ...]) -> None:
    check(node("Unsqueeze", ["x", "axes"], ["y"]), {"x": X}, operands={"axes": i64(*axes)})
    positive = sorted(a % (3 + len(axes)) for a in axes)
    check(node("Unsqueeze", ["x"], ["y"], axes=positive), {"x": X}, opset=9)


def test_unsqueeze_refuses_an_axis_twice() -> None:
    with pytest.raises(ModelError, match="name an axis twice"):
        imported([node("Unsqueeze", ["x", "axes"], ["y"])], {"x": X}, constants={"axes": i64(0, -5)})


def test_transpose() -> None:
    check(node("Transpose", ["x"], ["y"], perm=[1, 2, 0]), {"x": X})
    check(node("Transpose", ["x"], ["y"]), {"x": X}, opset=7)


@pytest.mark.parametrize("shape", [(3, 4), (5, 1, 3, 4), (1,), (2, 3, 1), (6, 2, 3, 4)])
def test_expand(shape: tuple[int, ...]) -> None:
    check(node("Expand", ["x", "shape"], ["y"]), {"x": X}, operands={"shape": i64(*shape)})


def test_expand_names() -> None:
    x = np.zeros((1, 3), np.float32)
    nodes = [node("Shape", ["z"], ["shape"]), node("Expand", ["x", "shape"], ["y"])]
    graph = imported(nodes, {"x": x, "z": X}, shapes={"z": ["B", "N", "M"]})
    assert str(graph.outputs[0].type) == "f32[B,N,3]"
    with pytest.raises(ModelError, match="size 3 cannot be expanded to 2"):
        imported([node("Expand", ["x", "shape"], ["y"])], {"x": x}, constants={"shape": i64(2)})


@pytest.mark.parametrize("repeats", [(1, 1, 1), (2, 1, 3), (1, 4, 1), (0, 2, 1)])
@pytest.mark.parametrize("opset", [7, 13])
def test_tile(repeats: tuple[int, ...], opset: int) -> None:
    check(node("Tile", ["x", "repeats"], ["y"]), {"x": X}, operands={"repeats": i64(*repeats)}, opset=opset)
    check(node("Tile", ["x", "repeats"], ["y"]), {"x": X[:1]}, operands={"repeats": i64(*repeats)}, opset=opset)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat(axis: int) -> None:
    inputs = {"a": X, "b": X + 1, "c": X + 2}
    shapes = {n: ["N", "C", "L"] for n in inputs}
    check(node("Concat", ["a", "b", "c"], ["y"], axis=axis), inputs, shapes=shapes)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_blocks(mode: str) -> None:
    x = np.arange(2 * 12 * 2 * 3, dtype=np.float32).reshape(2, 12, 2, 3)
    check(node("DepthToSpace", ["x"], ["y"], blocksize=2, mode=mode), {"x": x}, shapes={"x": ["N", 12, "H", "W"]})
    check(node("SpaceToDepth", ["x"], ["y"], blocksize=2), {"x": x[:, :, :, :2]}, opset=13)
    with pytest.raises(ModelError, match="mode 'ABC' is neither DCR nor CRD"):
        imported([node("DepthToSpace", ["x"], ["y"], blocksize=2, mode="ABC")], {"x": x})


def test_space_to_depth_undoes_depth_to_space() -> None:
    x = np.arange(96, dtype=np.float32).reshape(1, 2, 6, 8)
    for mode in ("DCR", "CRD"):
        nodes = [
            node("SpaceToDepth", ["x"], ["d"], blocksize=2, mode=mode),
            node("DepthToSpace", ["d"], ["y"], blocksize=2, mode=mode),
        ]
        np.testing.assert_array_equal(run(imported(nodes, {"x": x}), {"x": x})["y"], x)
