"""Host steps in the middle, sizes that the data decide, and control flow, in whole engines."""

from __future__ import annotations

import numpy as np

from fusee.base.dims import sym
from fusee.base.types import BOOL, F32, I64, Array, TensorType
from fusee.engine.plan import CallStep, HostStep
from fusee.ir.graph import Const, Graph, Input, Value
from fusee.kernels.cpu.compile import Compiler
from fusee.ops.activations import Sigmoid
from fusee.ops.binary import Add, Greater, Mul
from fusee.ops.control import If, Loop
from fusee.ops.elementwise import Neg, Relu
from fusee.ops.index import Gather
from fusee.ops.reduce import Reduce, Softmax
from fusee.ops.selection import Compress, NonZero
from fusee.ops.shape import Concat, Reshape, Slice
from planner.made import assert_right, normal

N, K, J = sym("N"), sym("K"), sym("J")
ROWS = TensorType(F32, (N, 8))
ZERO = Const(np.float32(0))()


def given(name: str = "x", type: TensorType = ROWS) -> Value:
    return Input(name, type)()


def row_sets() -> list[dict[str, Array]]:
    """Batches of which other numbers of rows are chosen, none and all among them."""
    rng = np.random.default_rng(3)
    some = [normal(rng, n, 8) for n in (4, 9, 4, 1)]
    return [{"x": x} for x in (*some, -np.abs(some[0]), np.abs(some[1]), some[0])]


def positive_rows(x: Value) -> Value:
    """The rows of x whose sum is above 0: their number is K."""
    chosen = Greater()(Reduce("sum", (1,), False)(x), ZERO)
    where = NonZero(K)(chosen)
    return Gather(0)(x, Reshape((K,))(where))


def test_rows_chosen_by_the_data(compiler: Compiler) -> None:
    x = given()
    rows = positive_rows(Softmax(1)(Neg()(x)))
    few = positive_rows(x)
    outputs = (Sigmoid()(Add()(few, few)), Reduce("sum", (0,), False)(few), Concat(0)(Relu()(few), Neg()(x)))
    planned = assert_right(Graph("g", (x,), outputs, ("a", "b", "c")), row_sets(), compiler, threads=(1, 2, 3))
    assert [type(s) for s in planned.plan.steps].count(HostStep) == 1
    assert rows.type.shape == (K, 8)


def test_a_choice_among_what_was_chosen(compiler: Compiler) -> None:
    """Two phases of unknown size, and a value of the first that is used after the second."""
    x = given()
    few = positive_rows(Mul()(x, Const(np.float32(1.5))()))
    fewer = Compress(0, J)(few, Greater()(Reshape((K,))(Slice((0, 0), (K, 1), (1, 1))(few)), ZERO))
    outputs = (Concat(0)(Neg()(fewer), Relu()(few)), Softmax(1)(fewer))
    assert_right(Graph("g", (x,), outputs, ("a", "b")), row_sets(), compiler, threads=(1, 2, 3))


def test_a_branch_by_the_data(compiler: Compiler) -> None:
    x = given()
    inner = given("x", ROWS)
    then = Graph("then", (inner,), (Softmax(1)(Neg()(inner)), inner), ("p", "q"))
    otherwise = Graph("otherwise", (inner,), (Sigmoid()(inner), Relu()(Neg()(inner))), ("p", "q"))
    condition = Greater()(Reduce("sum", (0, 1), False)(x), ZERO)
    p, q = If(then, otherwise, (ROWS, ROWS)).apply(condition, Mul()(x, x))
    outputs = (Add()(p, Neg()(q)), q)
    planned = assert_right(Graph("g", (x,), outputs, ("a", "b")), row_sets(), compiler, threads=(1, 2, 3))
    assert [type(s) for s in planned.plan.steps].count(CallStep) == 1


def test_a_loop_that_collects(compiler: Compiler) -> None:
    """Halves x as long as its largest element is above 1, and keeps every stage."""
    step, on, state = given("i", TensorType(I64, ())), given("on", TensorType(BOOL, ())), given("s")
    half = Mul()(state, Const(np.float32(0.5))())
    again = Greater()(Reduce("max", (0, 1), False)(half), Const(np.float32(1))())
    body = Graph("body", (step, on, state), (again, half, Reduce("sum", (1,), False)(Sigmoid()(half))), ("c", "h", "r"))
    x = given()
    most, begin = Const(np.int64(20))(), Const(np.bool_(True))()
    results = (ROWS, TensorType(F32, (K, N)))
    last, stages = Loop(body, 1, results, ("K",)).apply(most, begin, Mul()(x, Const(np.float32(4))()))
    outputs = (Neg()(last), Softmax(1)(stages))
    assert_right(Graph("g", (x,), outputs, ("a", "b")), row_sets(), compiler, threads=(1, 2, 3))
