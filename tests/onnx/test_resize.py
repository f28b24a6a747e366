"""Resize and Upsample: sizes, scales and regions that are known, named, or only told at run time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_models import check, imported, node

from fusee.base.dims import sym
from fusee.base.errors import UnsupportedModel
from fusee.base.types import Array
from fusee.ir.reference import run
from fusee.onnx.resize import scaled_size
from fusee.ops.resize import Resize, ResizeByData

X = np.random.default_rng(0).standard_normal((1, 2, 5, 7)).astype(np.float32)


def f32(*values: float) -> Array:
    return np.array(values, np.float32)


HOW: tuple[dict[str, Any], ...] = (
    {},
    {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"},
    {"nearest_mode": "ceil", "coordinate_transformation_mode": "asymmetric"},
    {"nearest_mode": "round_prefer_ceil", "coordinate_transformation_mode": "align_corners"},
    {"mode": "linear"},
    {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
    {"mode": "linear", "coordinate_transformation_mode": "half_pixel_symmetric"},
    {"mode": "linear", "antialias": 1},
    {"mode": "cubic"},
    {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1},
    {"mode": "cubic", "antialias": 1},
)


@pytest.mark.parametrize("how", HOW, ids=str)
@pytest.mark.parametrize("scales", [(1, 1, 2, 2), (1, 1, 0.6, 1.7), (2, 1, 0.5, 0.3)], ids=str)
def test_scales(how: dict[str, Any], scales: tuple[float, ...]) -> None:
    check(node("Resize", ["x", "", "s"], ["y"], **how), {"x": X}, operands={"s": f32(*scales)})


@pytest.mark.parametrize("how", HOW, ids=str)
@pytest.mark.parametrize("sizes", [(1, 2, 10, 14), (1, 2, 3, 10), (1, 2, 2, 3)], ids=str)
def test_sizes(how: dict[str, Any], sizes: tuple[int, ...]) -> None:
    check(node("Resize", ["x", "", "", "s"], ["y"], **how), {"x": X}, operands={"s": np.array(sizes, np.int64)})


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_sizes_that_keep_the_aspect_ratio(policy: str) -> None:
    op = node("Resize", ["x", "", "", "s"], ["y"], axes=[2, 3], mode="linear", keep_aspect_ratio_policy=policy)
    check(op, {"x": X}, operands={"s": np.array([9, 8], np.int64)})


@pytest.mark.parametrize("axes", [None, (3, 2)])
def test_cropping(axes: tuple[int, ...] | None) -> None:
    roi = (0, 0, 0.2, -0.1, 1, 1, 0.9, 1.2) if axes is None else (0.1, 0.3, 1.2, 0.8)
    rest: dict[str, Any] = {} if axes is None else {"axes": axes}
    sizes = (1, 2, 4, 6) if axes is None else (6, 4)
    op = node(
        "Resize",
        ["x", "r", "", "s"],
        ["y"],
        mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize",
        extrapolation_value=7.0,
        **rest,
    )
    check(op, {"x": X}, operands={"r": f32(*roi), "s": np.array(sizes, np.int64)})


def test_sizes_come_from_another_tensors_shape() -> None:
    other = np.zeros((1, 2, 9, 4), np.float32)
    nodes = [node("Shape", ["o"], ["s"]), node("Resize", ["x", "", "", "s"], ["y"], mode="linear")]
    graph = imported(nodes, {"x": X, "o": other}, shapes={"x": [1, 2, "h", "w"], "o": [1, 2, "H", "W"]})
    assert str(graph.outputs[0].type) == "f32[1,2,H,W]"
    assert run(graph, {"x": X, "o": other})["y"].shape == other.shape


def test_scales_computed_from_known_shapes_are_known() -> None:
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Cast", ["s"], ["f"], to=1),
        node("Div", ["w", "f"], ["r"]),
        node("Resize", ["x", "", "r"], ["y"]),
    ]
    graph = imported(nodes, {"x": X}, constants={"w": f32(1, 2, 10, 21)})
    assert isinstance(graph.outputs[0].op, Resize)
    assert graph.outputs[0].type.shape == (1, 2, 10, 21)


def test_scales_given_at_run_time_run_on_the_host() -> None:
    graph = imported([node("Resize", ["x", "", "s"], ["y"])], {"x": X, "s": f32(1, 1, 2, 3)})
    assert isinstance(graph.outputs[0].op, ResizeByData)
    assert len(graph.outputs[0].op.defined_symbols()) == 4
    assert not graph.outputs[0].type.is_static


@pytest.mark.parametrize(("opset", "op"), [(7, "Upsample"), (9, "Upsample"), (10, "Resize")])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_old_opsets_look_up_asymmetrically(opset: int, op: str, mode: str) -> None:
    scales = (1.0, 1.0, 2.0, 3.0)
    given: dict[str, Any] = {"scales": scales} if opset == 7 else {}
    inputs = ["x"] if opset == 7 else ["x", "s"]
    constants = {} if opset == 7 else {"s": f32(*scales)}
    old = imported([node(op, inputs, ["y"], mode=mode, **given)], {"x": X}, constants=constants, opset=opset)
    how = {"mode": mode, "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    new = imported([node("Resize", ["x", "", "s"], ["y"], **how)], {"x": X}, constants={"s": f32(*scales)})
    np.testing.assert_array_equal(run(old, {"x": X})["y"], run(new, {"x": X})["y"])


def test_resize_10_takes_the_next_element_where_it_shrinks() -> None:
    x = np.arange(8, dtype=np.float32).reshape(1, 1, 1, 8)
    graph = imported([node("Resize", ["x", "s"], ["y"])], {"x": x}, constants={"s": f32(1, 1, 1, 0.6)}, opset=10)
    np.testing.assert_array_equal(run(graph, {"x": x})["y"].ravel(), [0, 2, 4, 5])


def test_resize_needs_scales_or_sizes() -> None:
    with pytest.raises(UnsupportedModel, match=r"Resize-\d+ 'Resize_0': it has neither scales nor sizes"):
        imported([node("Resize", ["x"], ["y"])], {"x": X})


def test_scaled_size() -> None:
    assert scaled_size(10, 0.7) == 7
    assert str(scaled_size(sym("H"), 2.0)) == "2*H"
    assert str(scaled_size(sym("H"), float(np.float32(0.6)))) == "((3*H)//(5))"
