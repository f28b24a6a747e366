"""Sizes that a graph takes to be equal are listed, so that the session can check them before it runs."""

from __future__ import annotations

from fusee.base.dims import parse_dim
from fusee.base.types import TensorType
from fusee.ir.graph import Graph, Input, Value
from fusee.ops.binary import Add
from fusee.ops.shape import Concat, Expand, Reshape
from fusee.planner.plan import assumed_equal


def given(name: str, text: str) -> Value:
    return Input(name, TensorType.parse(text))()


def assumed(value: Value, *inputs: Value) -> set[frozenset[str]]:
    return {frozenset(map(str, pair)) for pair in assumed_equal(Graph("g", inputs, (value,)))}


def test_nothing_is_assumed_of_sizes_that_agree() -> None:
    x, y = given("x", "f32[N,3]"), given("y", "f32[N,1]")
    joined = Concat(1)(Add()(x, Expand((parse_dim("N"), 3))(y)), y)
    assert assumed(Reshape((parse_dim("4*N"),))(joined), x, y) == set()


def test_each_op_that_moves_or_combines_says_what_it_takes_to_be_equal() -> None:
    x, y = given("x", "f32[N,M]"), given("y", "f32[K,M]")
    assert assumed(Add()(x, y), x, y) == {frozenset({"K", "N"})}
    assert assumed(Concat(1)(x, y), x, y) == {frozenset({"K", "N"})}
    assert assumed(Concat(0)(x, y), x, y) == set()
    assert assumed(Reshape((parse_dim("K"), 5))(x), x) == {frozenset({"5*K", "M*N"})}
    assert assumed(Expand((7, parse_dim("N"), parse_dim("K")))(x), x) == {frozenset({"K", "M"})}
