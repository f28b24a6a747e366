"""Inputs that suit a graph: sizes at which it runs, indices in range, values it asks for, the same ones every time."""

from __future__ import annotations

import numpy as np
import pytest

from fusee.base.dims import parse_dim, sym
from fusee.base.errors import RequestError
from fusee.base.types import F32, I64, U8, TensorType
from fusee.ir.graph import Const, Graph, Input, Value
from fusee.ops.binary import Add, Equal
from fusee.ops.elementwise import Cast, Neg
from fusee.ops.index import Gather
from fusee.ops.shape import Reshape
from fusee.verification.samples import asked_for, given_sample, index_bounds, make_samples, random_feeds

N, H = sym("N"), sym("H")


def given(name: str, type: TensorType) -> Value:
    return Input(name, type)()


def graph(*outputs: Value, inputs: tuple[Value, ...]) -> Graph:
    return Graph("g", inputs, outputs, tuple(f"y{i}" for i in range(len(outputs))))


def test_samples_are_the_same_for_the_same_seed() -> None:
    x = given("x", TensorType(F32, (N, 3)))
    a, b, c = (make_samples(graph(Neg()(x), inputs=(x,)), seed, 2) for seed in (5, 5, 6))
    for one, two in zip(a, b, strict=True):
        np.testing.assert_array_equal(one.feeds["x"], two.feeds["x"])
        np.testing.assert_array_equal(one.expected["y0"], -one.feeds["x"])
    assert a[0].feeds["x"].tolist() != c[0].feeds["x"].tolist()


def test_two_samples_have_two_sizes() -> None:
    x = given("x", TensorType(F32, (N, 3, H, H)))
    shapes = {s.feeds["x"].shape for s in make_samples(graph(Neg()(x), inputs=(x,)), 0, 2)}
    assert len(shapes) == 2


def test_sizes_are_tried_until_the_graph_runs() -> None:
    """Only multiples of 32 can be split like this."""
    x = given("x", TensorType(F32, (1, H)))
    split = Reshape((parse_dim("H//96"), 96))(x)
    (sample,) = make_samples(graph(split, inputs=(x,)), 0, 1)
    assert sample.feeds["x"].shape[1] % 96 == 0


def test_given_sizes_are_used() -> None:
    x = given("x", TensorType(F32, (N, H)))
    (sample,) = make_samples(graph(Neg()(x), inputs=(x,)), 0, 1, {"x": (5, 7)})
    assert sample.sizes() == "x=5x7"


def test_indices_stay_inside_what_they_select_from() -> None:
    table = Const(np.arange(12, dtype=np.float32).reshape(3, 4))()
    i = given("i", TensorType(I64, (50,)))
    g = graph(Gather(0)(table, Reshape((5, 10))(i)), inputs=(i,))
    assert index_bounds(g) == {i: 3}
    assert set(random_feeds(g, {}, 0)["i"].tolist()) == {0, 1, 2}


def test_an_input_compared_with_constants_is_one_of_them() -> None:
    rate = given("rate", TensorType(I64, ()))
    fast, slow = (Equal()(rate, Const(np.int64(n))()) for n in (16000, 8000))
    g = graph(fast, slow, inputs=(rate,))
    assert asked_for(g) == {rate: [8000, 16000]}
    assert {int(random_feeds(g, {}, seed)["rate"]) for seed in range(9)} == {8000, 16000}


def test_bytes_use_their_whole_range() -> None:
    x = given("x", TensorType(U8, (1000,)))
    pixels = random_feeds(graph(Cast(F32)(x), inputs=(x,)), {}, 0)["x"]
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_a_graph_that_runs_on_no_size_says_so() -> None:
    x = given("x", TensorType(F32, (H, 4)))
    broken = graph(Reshape((3, 5))(x), inputs=(x,))
    with pytest.raises(RequestError, match=r"g does not run on inputs of sizes x=\d+x4: .*; give sizes or inputs that"):
        make_samples(broken, 0, 1)


def test_inputs_that_do_not_fit_are_refused() -> None:
    x, y = given("x", TensorType(F32, (N, 3))), given("y", TensorType(F32, (N, 3)))
    g = graph(Add()(x, y), inputs=(x, y))
    ones = np.ones((2, 3), np.float32)
    with pytest.raises(RequestError, match=r"graph g needs the inputs y"):
        given_sample(g, {"x": ones})
    with pytest.raises(RequestError, match=r"input y is f32\[N,3\]"):
        given_sample(g, {"x": ones, "y": ones[:1]})
    with pytest.raises(RequestError, match=r"input y is f32\[N,3\], but the array given is float64"):
        given_sample(g, {"x": ones, "y": ones.astype(np.float64)})
