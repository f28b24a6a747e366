"""What callers get wrong, and what they are told; what they may hand over without a copy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fusee.base.errors import RequestError
from fusee.base.types import Array
from fusee.engine.plan import Plan, PlanInput
from fusee.runtime.memory import is_padded, padded, padded_array
from fusee.runtime.request import Request
from fusee.runtime.session import Session
from runtime.small_engines import add_plan, chain_plan, engine, f32, linear_plan, weights

X = np.ones((3, 5), np.float32)


@pytest.fixture(scope="module")
def linear() -> Iterator[Session]:
    with engine(linear_plan(), weights()).session(1) as session:
        yield session


@pytest.fixture(scope="module")
def add() -> Iterator[Session]:
    with engine(add_plan(4)).session(1) as session:
        yield session


def refusal(session: Session, inputs: Any, outputs: Any = None) -> str:
    with pytest.raises(RequestError) as caught:
        session.run(inputs) if outputs is None else session.run_into(inputs, outputs)
    return str(caught.value)


def test_a_missing_input(add: Session):
    assert refusal(add, {"a": np.ones(4, np.float32)}) == (
        "input 'b' missing; the engine's inputs are a: f32[4], b: f32[4]; given: a"
    )


def test_a_misspelt_input(linear: Session):
    assert refusal(linear, {"X": X}) == (
        "input 'x' missing; unknown input 'X'; the engine's inputs are x: f32[N,5]; given: X"
    )


def test_the_nearest_name_is_suggested():
    plan = Plan("p", (PlanInput("pixel_values", f32(1)),), (), (), ())
    with pytest.raises(RequestError) as caught:
        Request(plan).inputs({"pixel_value": X})
    assert "unknown input 'pixel_value' (did you mean 'pixel_values'?)" in str(caught.value)


def test_an_input_too_many(linear: Session):
    assert refusal(linear, {"x": X, "mask": X}) == (
        "unknown input 'mask'; the engine's inputs are x: f32[N,5]; given: x, mask"
    )


def test_another_element_type(linear: Session):
    assert refusal(linear, {"x": X.astype(np.float64)}) == (
        "input 'x' has element type float64, expected float32 (f32[N,5]); convert it with .astype('float32')"
    )


def test_another_byte_order(linear: Session):
    assert "has element type >f4, expected float32" in refusal(linear, {"x": X.astype(">f4")})


def test_another_rank(linear: Session):
    assert refusal(linear, {"x": X[0]}) == ("input 'x' is f32[5], expected f32[N,5]: it has 1 dimensions instead of 2")


def test_another_size(linear: Session):
    assert refusal(linear, {"x": np.ones((3, 6), np.float32)}) == (
        "input 'x' is f32[3,6], expected f32[N,5]: dimension 1 is 6, expected 5"
    )


def test_something_that_is_no_tensor(linear: Session):
    assert refusal(linear, {"x": [[1.0] * 5]}) == (
        "input 'x' is a list; expected f32[N,5] as a numpy array or an object with __dlpack__"
    )


def test_outputs_are_checked(linear: Session):
    y = np.zeros((3, 7), np.float32)
    assert "unknown output 'Y'" in refusal(linear, {"x": X}, {"Y": y})
    assert "output 'y' is a list; expected a numpy array to write to" in refusal(linear, {"x": X}, {"y": [1]})
    assert "the array for output 'y' has element type int8" in refusal(linear, {"x": X}, {"y": y.astype(np.int8)})
    wrong = "output 'y' has shape [3, 7] (f32[N,7]), but the array given for it has [2, 7]"
    assert refusal(linear, {"x": X}, {"y": y[:2]}) == wrong
    assert refusal(linear, {"x": X}, {"y": y.T[:, :2].T}) == wrong
    y.flags.writeable = False
    assert "the array for output 'y' is read-only" in refusal(linear, {"x": X}, {"y": y})


def test_a_refused_run_leaves_the_session_usable(linear: Session):
    before = linear.run({"x": X})["y"]
    refusal(linear, {"x": np.ones((3, 6), np.float32)})
    np.testing.assert_array_equal(linear.run({"x": X})["y"], before)


class OnlyDlpack:
    """A tensor of another library: nothing but its DLPack capsule."""

    def __init__(self, array: Array) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()


class OnAnotherDevice(OnlyDlpack):
    def __dlpack__(self, **options: Any) -> Any:
        raise BufferError("the tensor is on a GPU")


def test_dlpack_in_and_out(linear: Session):
    result = linear.run({"x": OnlyDlpack(X)})["y"]
    np.testing.assert_array_equal(np.from_dlpack(OnlyDlpack(result)), linear.run({"x": X})["y"])


def test_dlpack_from_elsewhere_is_refused(linear: Session):
    assert refusal(linear, {"x": OnAnotherDevice(X)}) == (
        "input 'x': its DLPack tensor cannot be used as a numpy array (the tensor is on a GPU); "
        "give a tensor in the CPU's memory"
    )


@pytest.mark.parametrize("kind", ["columns first", "every second", "backwards", "unaligned", "read-only", "empty"])
def test_any_layout_of_an_input_will_do(linear: Session, kind: str):
    x = np.arange(30, dtype=np.float32).reshape(6, 5)
    match kind:
        case "columns first":
            given = np.asfortranarray(x)
        case "every second":
            given = np.repeat(x, 2, axis=0)[::2]
        case "backwards":
            given = x[::-1, ::-1].copy()[::-1, ::-1]
        case "unaligned":
            raw = np.zeros(x.nbytes + 1, np.uint8)
            given = np.ndarray(x.shape, np.float32, buffer=raw.data, offset=1)
            given[:] = x
        case "read-only":
            given = x.copy()
            given.flags.writeable = False
        case _:
            given = x = x[:0]
    expected = 2 * (x @ weights())
    np.testing.assert_allclose(linear.run({"x": given})["y"].ravel()[::-1], expected.ravel(), rtol=1e-4)


def test_row_major_inputs_are_not_copied():
    request = Request(add_plan(4))
    a, b = np.ones(4, np.float32), np.zeros(4, np.float32)
    accepted = request.inputs({"b": b, "a": a})
    assert accepted[0] is a
    assert accepted[1] is b


def test_an_array_that_ends_at_a_page_is_copied_and_padded():
    raw = np.zeros(3 * 4096, np.uint8)
    start = -raw.ctypes.data % 4096
    last = raw[start : start + 4096]
    assert not is_padded(last.ctypes.data, last.nbytes)
    copy, address = padded(last)
    assert copy is not last
    assert address == copy.ctypes.data
    inner = raw[start : start + 4000]
    assert padded(inner)[0] is inner


@pytest.mark.parametrize("dtype", [np.float32, np.bool_, np.int64, ml_dtypes.bfloat16, ml_dtypes.int4])
def test_padded_arrays_of_every_kind(dtype: Any):
    for shape in ((), (0,), (3, 5)):
        array = padded_array(shape, np.dtype(dtype))
        assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
        assert array.ctypes.data % 64 == 0
        assert array.flags.c_contiguous


@pytest.mark.parametrize("kind", ["direct", "columns first", "part of a larger array", "the input itself"])
def test_results_are_written_to_any_array(kind: str):
    x = np.arange(30, dtype=np.float32).reshape(6, 5)
    given = {
        "direct": np.zeros((6, 5), np.float32),
        "columns first": np.zeros((6, 5), np.float32, order="F"),
        "part of a larger array": np.zeros((6, 9), np.float32)[:, 2:7],
        "the input itself": x,
    }[kind]
    expected = (2 * (x @ weights(5, 5))).ravel()[::-1].reshape(6, 5)
    with engine(linear_plan(5, 5), weights(5, 5)).session(1) as session:
        session.run_into({"x": x}, {"y": given})
    np.testing.assert_allclose(given, expected, rtol=1e-4)


def test_results_may_overwrite_the_inputs_they_come_from():
    memory = np.arange(12, dtype=np.float32)
    with engine(chain_plan(10, 1)).session(1) as session:
        session.run_into({"x": memory[:10]}, {"y": memory[2:]})
    np.testing.assert_array_equal(memory, [0, 1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
