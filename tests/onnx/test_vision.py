"""Grids, regions of interest, boxes and blocks: against the onnx evaluator, or against what they must give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_models import check, imported, node

from fusee.base.types import Array
from fusee.ir.reference import run

RNG = np.random.default_rng(3)
X = RNG.standard_normal((2, 3, 5, 7)).astype(np.float32)
GRID = RNG.uniform(-1.4, 1.4, (2, 4, 3, 2)).astype(np.float32)


# The onnx evaluator clamps the position before it takes cubic neighbours; ONNX Runtime clamps each neighbour, as we do.
MODES = [(m, p) for m in ("nearest", "linear", "cubic") for p in ("zeros", "border", "reflection")]
MODES.remove(("cubic", "border"))


@pytest.mark.parametrize(("mode", "padding"), MODES)
@pytest.mark.parametrize("align_corners", [0, 1])
def test_grid_sample(mode: str, padding: str, align_corners: int) -> None:
    op = node("GridSample", ["x", "g"], ["y"], mode=mode, padding_mode=padding, align_corners=align_corners)
    check(op, {"x": X[:, :1], "g": GRID})


def test_grid_sample_knew_other_names() -> None:
    for old, new in (("bilinear", "linear"), ("bicubic", "cubic"), ("nearest", "nearest")):
        before = imported([node("GridSample", ["x", "g"], ["y"], mode=old)], {"x": X, "g": GRID}, opset=16)
        after = imported([node("GridSample", ["x", "g"], ["y"], mode=new)], {"x": X, "g": GRID}, opset=20)
        assert before.outputs[0].op == after.outputs[0].op


def test_grid_sample_of_volumes() -> None:
    x = RNG.standard_normal((1, 2, 3, 4, 5)).astype(np.float32)
    grid = RNG.uniform(-1.2, 1.2, (1, 2, 2, 3, 3)).astype(np.float32)
    check(node("GridSample", ["x", "g"], ["y"], mode="linear", align_corners=1), {"x": x, "g": grid})


ROIS = {
    "r": np.array([[0, 0, 6, 4], [1.5, 0.5, 5.2, 3.9], [2, 2, 9, 9]], np.float32),
    "b": np.array([1, 0, 1], np.int64),
}


@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("shift", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_roi_align(ratio: int, shift: str, mode: str) -> None:
    attributes: dict[str, Any] = {"mode": mode, "sampling_ratio": ratio, "coordinate_transformation_mode": shift}
    op = node("RoiAlign", ["x", "r", "b"], ["y"], output_height=2, output_width=3, spatial_scale=0.8, **attributes)
    check(op, {"x": X, **ROIS})


def test_roi_align_10_is_not_shifted() -> None:
    old = imported([node("RoiAlign", ["x", "r", "b"], ["y"])], {"x": X, **ROIS}, opset=10)
    attributes = {"coordinate_transformation_mode": "output_half_pixel"}
    new = imported([node("RoiAlign", ["x", "r", "b"], ["y"], **attributes)], {"x": X, **ROIS})
    assert old.outputs[0].op == new.outputs[0].op


def test_max_roi_pool_takes_the_maxima_of_cells() -> None:
    x = np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4)
    rois = np.array([[0, 0, 0, 3, 3], [0, 1, 2, 2, 3]], np.float32)
    op = node("MaxRoiPool", ["x", "r"], ["y"], pooled_shape=[2, 2])
    y = run(imported([op], {"x": x, "r": rois}), {"x": x, "r": rois})["y"]
    np.testing.assert_array_equal(y[0, 0], [[5, 7], [13, 15]])
    np.testing.assert_array_equal(y[1, 1], [[25, 26], [29, 30]])


def boxes(*corners: tuple[float, ...]) -> Array:
    return np.array([corners], np.float32)


FAR, NEAR = (0.0, 10.0, 1.0, 11.0), (0.0, 0.1, 1.0, 1.1)
BOXES = boxes((0, 0, 1, 1), NEAR, FAR, (1, 1, 0, 0))
SCORES = np.array([[[0.9, 0.75, 0.6, 0.95]]], np.float32)


@pytest.mark.parametrize(
    ("most", "iou", "least", "kept"),
    [(3, 0.5, 0.0, [3, 2]), (1, 0.5, 0.0, [3]), (9, 0.99, 0.7, [3, 1]), (0, 0.5, 0.0, []), (9, 0.5, 0.97, [])],
)
def test_non_max_suppression(most: int, iou: float, least: float, kept: list[int]) -> None:
    feeds = {
        "b": BOXES,
        "s": SCORES,
        "m": np.array([most], np.int64),
        "i": np.array([iou], np.float32),
        "l": np.array([least], np.float32),
    }
    op = node("NonMaxSuppression", list(feeds), ["y"])
    graph = imported([op], feeds)
    assert graph.outputs[0].op.defined_symbols()
    np.testing.assert_array_equal(run(graph, feeds)["y"], np.array([[0, 0, k] for k in kept]).reshape(-1, 3))
    check(op, {"b": BOXES, "s": SCORES}, operands={k: feeds[k] for k in "mil"})


def test_non_max_suppression_without_a_count_keeps_nothing() -> None:
    feeds = {"b": BOXES, "s": SCORES}
    y = run(imported([node("NonMaxSuppression", ["b", "s"], ["y"])], feeds), feeds)["y"]
    assert y.shape == (0, 3)


def test_boxes_by_centre_are_the_same_boxes() -> None:
    centred = boxes((0.5, 0.5, 1, 1), (0.6, 0.5, 1, 1), (10.5, 0.5, 1, 1), (0.5, 0.5, 1, 1))
    limits = {"m": np.array([9], np.int64), "i": np.array([0.5], np.float32)}
    found = []
    for given, center in ((BOXES, 0), (centred, 1)):
        op = node("NonMaxSuppression", ["b", "s", "m", "i"], ["y"], center_point_box=center)
        found.append(run(imported([op], {"b": given, "s": SCORES, **limits}), {"b": given, "s": SCORES, **limits})["y"])
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("image", "block", "columns", "attributes"),
    [
        ((5, 5), (1, 5), (1, 5, 5), {}),
        ((5, 5), (3, 3), (1, 9, 4), {"strides": [2, 2]}),
        ((5, 5), (3, 3), (1, 18, 25), {"pads": [1, 1, 1, 1]}),
        ((6, 6), (2, 2), (1, 4, 25), {}),
        ((4, 4, 4), (1, 2, 2), (1, 4, 36), {}),
    ],
)
def test_col2im(
    image: tuple[int, ...], block: tuple[int, ...], columns: tuple[int, ...], attributes: dict[str, Any]
) -> None:
    x = RNG.standard_normal(columns).astype(np.float32)
    operands = {"i": np.array(image, np.int64), "k": np.array(block, np.int64)}
    check(node("Col2Im", ["x", "i", "k"], ["y"], **attributes), {"x": x}, operands=operands, shapes={"x": columns})


@pytest.mark.parametrize("align_corners", [0, 1])
@pytest.mark.parametrize("sizes", [(2, 3, 4, 5), (2, 3, 4, 5, 6)])
def test_affine_grid(align_corners: int, sizes: tuple[int, ...]) -> None:
    rank = len(sizes) - 2
    theta = RNG.standard_normal((2, rank, rank + 1)).astype(np.float32)
    op = node("AffineGrid", ["t", "s"], ["y"], align_corners=align_corners)
    check(op, {"t": theta}, operands={"s": np.array(sizes, np.int64)}, shapes={"t": ["n", rank, rank + 1]})
