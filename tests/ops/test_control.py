"""If, Loop, Scan, Bind: what they compute, how sizes that change are typed, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from fusee.base.dims import sym
from fusee.base.errors import ShapeError
from fusee.base.types import BOOL, F32, I64, TensorType
from fusee.ir.graph import Graph, Input, Value
from fusee.ir.reference import run
from fusee.ops.control import After, Bind, If, Loop, Scan
from fusee.ops.shape import Concat, Full, Slice


def given(name: str, text: str) -> Value:
    return Input(name, TensorType.parse(text))()


def graph(inputs: tuple[Value, ...], *outputs: Value) -> Graph:
    return Graph("body", inputs, outputs)


def first_or_twice() -> If:
    a, b = given("a", "f32[N,3]"), given("b", "f32[N,3]")
    then = graph((a,), Slice((0, 0), (1, 3), (1, 1))(a))
    return If(then, graph((b,), Concat(0)(b, b)), (TensorType(F32, (sym("rows"), 3)),), ("rows",))


@pytest.mark.parametrize("taken", [True, False])
def test_if_runs_one_branch_and_names_the_size(taken: bool) -> None:
    condition, x = given("condition", "bool[]"), given("x", "f32[N,3]")
    y = first_or_twice()(condition, x)
    assert str(y.type) == "f32[rows,3]"
    assert y.op.defined_symbols() == {"rows"}
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    found = run(Graph("g", (condition, x), (y,), ("y",)), {"condition": np.array(taken), "x": rows})["y"]
    np.testing.assert_array_equal(found, rows[:1] if taken else np.concatenate([rows, rows]))


def test_if_refuses_results_that_do_not_fit() -> None:
    branch = first_or_twice().then
    with pytest.raises(ShapeError, match=r"result of the then branch 0 is f32\[1,3\]; expected f32\[2,3\]"):
        If(branch, branch, (TensorType(F32, (2, 3)),))(given("c", "bool[]"), given("x", "f32[N,3]"))
    with pytest.raises(ShapeError, match=r"must be bool\[\]"):
        first_or_twice()(given("c", "i64[]"), given("x", "f32[N,3]"))


def growing() -> Loop:
    step, go_on = given("step", "i64[]"), given("go_on", "bool[]")
    rows, row = given("rows", "f32[k,3]"), given("row", "f32[1,3]")
    body = graph((step, go_on, rows, row), go_on, Concat(0)(rows, row), row)
    types = TensorType(F32, (sym("end"), 3)), TensorType(F32, (sym("steps"), 1, 3))
    return Loop(body, 1, types, ("end", "steps"))


@pytest.mark.parametrize(("trips", "begin", "steps"), [(3, True, 3), (0, True, 0), (5, False, 0)])
def test_loop_carries_a_growing_value(trips: int, begin: bool, steps: int) -> None:
    operands = np.array(trips), np.array(begin), np.zeros((2, 3), np.float32), np.ones((1, 3), np.float32)
    rows, collected = growing().compute(*operands)
    assert rows.shape == (2 + steps, 3)
    assert collected.shape == (steps, 1, 3)
    assert collected.dtype == np.float32


def test_loop_ends_by_its_own_answer() -> None:
    step, go_on, answer = given("step", "i64[]"), given("go_on", "bool[]"), given("answer", "bool[]")
    body = graph((step, go_on, answer), answer, answer, step)
    loop = Loop(body, 1, (TensorType(BOOL, ()), TensorType(I64, (sym("steps"),))), ("steps",))
    _, counted = loop.compute(np.array(9), np.array(True), np.array(False))
    np.testing.assert_array_equal(counted, [0])


def test_loop_refuses_a_size_that_changes_without_a_name() -> None:
    step, go_on, rows = given("step", "i64[]"), given("go_on", "bool[]"), given("rows", "f32[2,3]")
    body = graph((step, go_on, rows), go_on, Concat(0)(rows, rows))
    with pytest.raises(ShapeError, match=r"carried value 0 is f32\[4,3\]; expected f32\[2,3\]"):
        Loop(body, 1, (TensorType(F32, (2, 3)),))(
            given("trips", "i64[]"), given("begin", "bool[]"), given("x", "f32[2,3]")
        )


@pytest.mark.parametrize("backwards", [True, False])
def test_scan_walks_an_axis_both_ways(backwards: bool) -> None:
    state, column = given("state", "f32[2]"), given("column", "f32[2]")
    body = graph((state, column), column, Concat(0)(state, column))
    types = TensorType(F32, (2,)), TensorType(F32, (4, 3))
    scan = Scan(body, 1, (1,), (backwards,), (1,), (backwards,), types)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    last, joined = scan.compute(np.array([-1, -2], np.float32), x)
    np.testing.assert_array_equal(last, x[:, 0] if backwards else x[:, 2])
    before = [[1, 2, -1], [4, 5, -2]] if backwards else [[-1, 0, 1], [-2, 3, 4]]
    np.testing.assert_array_equal(joined, [*before, *x])


def test_scan_without_slices_gives_empty_results() -> None:
    state, entry = given("state", "f32[2]"), given("entry", "f32[]")
    body = graph((state, entry), state, state)
    types = TensorType(F32, (2,)), TensorType(F32, (sym("T"), 2))
    scan = Scan(body, 1, (0,), (False,), (0,), (False,), types)
    assert scan.compute(np.zeros(2, np.float32), np.zeros(0, np.float32))[1].shape == (0, 2)
    with pytest.raises(ShapeError, match="axis 1 is not one of the 1 axes"):
        Scan(body, 1, (1,), (False,), (0,), (False,), types).infer(state.type, TensorType(F32, (5,)))


def test_names_of_outer_sizes_hold_inside() -> None:
    """The body makes a tensor of the outer size N, which none of its inputs shows."""
    x, zero = given("x", "f32[N]"), given("zero", "f32[]")
    trips, begin = given("trips", "i64[]"), given("begin", "bool[]")
    step, go_on, inner = given("step", "i64[]"), given("go_on", "bool[]"), given("inner", "f32[]")
    body = graph((step, go_on, inner), go_on, Full((sym("N"),))(inner))
    loop = Loop(body, 0, (TensorType(F32, (sym("steps"), sym("N"))),), ("steps",))
    whole = Graph("g", (x, trips, begin, zero), (loop(trips, begin, zero),), ("y",))
    feeds = {"x": np.zeros(5, np.float32), "trips": np.array(2), "begin": np.array(True), "zero": np.float32(7)}
    np.testing.assert_array_equal(run(whole, feeds)["y"], np.full((2, 5), 7))


def test_bind_names_the_elements_for_what_waits_for_it() -> None:
    shape, value = given("shape", "i64[2]"), given("value", "f32[]")
    token = Bind(("rows", "columns"))(shape)
    filled = Full((sym("rows"), sym("columns")))(After()(value, token))
    whole = Graph("g", (shape, value), (filled,), ("y",))
    found = run(whole, {"shape": np.array([2, 3]), "value": np.array(1.5, np.float32)})["y"]
    np.testing.assert_array_equal(found, np.full((2, 3), 1.5))
    with pytest.raises(ShapeError, match="number of elements and of names"):
        Bind(("a",))(shape)
