"""Shape, Size, Constant, ConstantOfShape, Range, EyeLike, Trilu: against the onnx evaluator, fixed and dynamic."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from small_models import check, imported, node

from fusee.base.errors import ModelError, UnsupportedModel
from fusee.base.types import Array
from fusee.ir.graph import Const
from fusee.ir.reference import run

X = np.arange(12, dtype=np.float32).reshape(3, 4)


def scalar(value: float, dtype: type = np.int64) -> Array:
    return np.array(value, dtype)


@pytest.mark.parametrize(("start", "end"), [(0, 2), (1, 9), (-1, 2), (0, -1), (-9, 1), (2, 1)])
def test_shape(start: int, end: int) -> None:
    check(node("Shape", ["x"], ["y"], start=start, end=end), {"x": X})
    check(node("Shape", ["x"], ["y"]), {"x": X}, opset=7)


def test_shape_and_size_are_constants_when_known() -> None:
    outputs = ("shape", "size")
    nodes = [node("Shape", ["x"], ["shape"]), node("Size", ["x"], ["size"])]
    check(nodes, {"x": X}, outputs)
    assert all(isinstance(v.op, Const) for v in imported(nodes[:1], {"x": X}, outputs[:1]).outputs)


def test_sizes_found_by_other_nodes_are_waited_for() -> None:
    """The number of non-zero elements is only known when they have been found."""
    nodes = [
        node("NonZero", ["x"], ["found"]),
        node("Shape", ["found"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["zeros"]),
        node("Size", ["found"], ["size"]),
        node("EyeLike", ["found"], ["eye"]),
    ]
    check(nodes, {"x": X}, ("zeros", "shape", "size", "eye"))


@pytest.mark.parametrize(
    "attribute",
    [
        {"value_int": 5},
        {"value_ints": [1, -2]},
        {"value_float": 0.5},
        {"value_floats": [0.5, 2.0]},
        {"value": numpy_helper.from_array(X.astype(np.float16))},
    ],
    ids=lambda a: next(iter(a)),
)
def test_constant(attribute: dict[str, object]) -> None:
    check(node("Constant", [], ["y"], **attribute), {})


def test_constant_refuses_what_is_no_tensor_of_numbers() -> None:
    for attribute in ({"value_string": "a"}, {"value_strings": ["a", "b"]}):
        with pytest.raises(UnsupportedModel, match="is not a dense tensor of numbers"):
            imported([node("Constant", [], ["y"], **attribute)], {})
    with pytest.raises(ModelError, match="none of the value attributes"):
        imported([node("Constant", [], ["y"])], {})


@pytest.mark.parametrize("value", [None, np.array([7], np.int32), np.array([True])])
def test_constant_of_shape(value: Array | None) -> None:
    attribute = {} if value is None else {"value": numpy_helper.from_array(value)}
    for shape in ((2, 3), (0,), (), (9, 9)):
        operand = {"s": np.array(shape, np.int64)}
        check(node("ConstantOfShape", ["s"], ["y"], **attribute), {}, operands=operand, opset=9)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int16, np.float32, np.float64])
@pytest.mark.parametrize(("start", "limit", "delta"), [(3, 9, 3), (10, 4, -2), (0, 5, 2), (4, 4, 1), (5, 2, 1)])
def test_range(start: int, limit: int, delta: int, dtype: type) -> None:
    operands = {n: scalar(v, dtype) for n, v in zip("abc", (start, limit, delta), strict=True)}
    check(node("Range", ["a", "b", "c"], ["y"]), {}, operands=operands, opset=11)


def test_range_of_a_size() -> None:
    nodes = [
        node("Shape", ["x"], ["shape"], start=0, end=1),
        node("Squeeze", ["shape", "zero"], ["n"]),
        node("Range", ["from", "n", "step"], ["y"]),
    ]
    constants = {"zero": np.array([0]), "from": scalar(1), "step": scalar(1)}
    graph = imported(nodes, {"x": X}, constants=constants, shapes={"x": ["N", 4]})
    for n in (1, 2, 5):
        np.testing.assert_array_equal(run(graph, {"x": np.zeros((n, 4), np.float32)})["y"], np.arange(1, n))


def test_fractional_range_given_at_run_time() -> None:
    operands = {"a": scalar(0.5, np.float32), "b": scalar(3.1, np.float32), "c": scalar(0.25, np.float32)}
    check(node("Range", ["a", "b", "c"], ["y"]), {}, operands=operands)


@pytest.mark.parametrize("k", [-2, 0, 1, 9])
def test_eye_like(k: int) -> None:
    check(node("EyeLike", ["x"], ["y"], k=k), {"x": X}, opset=9)
    check(node("EyeLike", ["x"], ["y"], k=k, dtype=onnx.TensorProto.INT32), {"x": X})


@pytest.mark.parametrize("upper", [0, 1])
def test_trilu(upper: int) -> None:
    check(node("Trilu", ["x"], ["y"], upper=upper), {"x": X})
    for k in (-1, 2):
        check(node("Trilu", ["x", "k"], ["y"], upper=upper), {"x": X}, operands={"k": scalar(k)})


def test_microsoft_range_has_a_step_of_one() -> None:
    nodes = [helper.make_node("Range", ["a", "b"], ["y"], domain="com.microsoft")]
    graph = imported(nodes, {}, constants={"a": scalar(2), "b": scalar(6)}, domain="com.microsoft")
    np.testing.assert_array_equal(run(graph, {})["y"], [2, 3, 4, 5])
