"""Concatenations, slices and outputs that share memory with other values give the right numbers."""

from __future__ import annotations

import numpy as np
import pytest

from fusee.base.dims import sym
from fusee.base.types import F32, I64, Array, TensorType
from fusee.ir.graph import Const, Graph, Input, Value
from fusee.kernels.cpu.compile import Compiler
from fusee.ops.activations import Sigmoid
from fusee.ops.binary import Add, Mul
from fusee.ops.elementwise import Neg, Relu
from fusee.ops.reduce import Reduce, Softmax
from fusee.ops.shape import Concat, DimsTensor, Reshape, Slice, Transpose
from planner.made import assert_right, normal

N = sym("N")
X = TensorType(F32, (N, 4, 6))


def check(outputs: tuple[Value, ...], x: Value, compiler: Compiler, batches: tuple[int, ...] = (2, 1, 5)) -> list[str]:
    """The engine is right at every batch; gives the ops of its steps."""
    names = tuple(f"y{i}" for i in range(len(outputs)))
    rng = np.random.default_rng(1)
    feeds = [{"x": normal(rng, n, *map(int, x.type.shape[1:]))} for n in batches]
    planned = assert_right(Graph("g", (x,), outputs, names), feeds, compiler, threads=(1, 2, 3))
    return [step.op.split("(")[0] for step in planned.plan.steps]


def given(type: TensorType = X) -> Value:
    return Input("x", type)()


def cut(value: Value, axis: int, start: int, size: int) -> Value:
    shape = value.type.shape
    starts = tuple(start if i == axis else 0 for i in range(len(shape)))
    return Slice(starts, tuple(size if i == axis else d for i, d in enumerate(shape)), (1,) * len(shape))(value)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_concatenation_is_computed_in_place(axis: int, compiler: Compiler) -> None:
    x = given()
    steps = check((Concat(axis)(Neg()(x), Sigmoid()(x)),), x, compiler)
    assert sorted(steps) == ["neg", "sigmoid"]


def test_a_concatenation_of_concatenations_is_computed_in_place(compiler: Compiler) -> None:
    x = given()
    inner = Concat(1)(Neg()(x), Sigmoid()(x))
    steps = check((Softmax(2)(Concat(1)(inner, Relu()(x))),), x, compiler)
    assert sorted(steps) == ["neg", "relu", "sigmoid", "softmax"]


def test_what_cannot_be_computed_in_place_is_copied(compiler: Compiler) -> None:
    """Inputs, constants, the same value twice, and parts of two concatenations."""
    x, ones = given(), Const(np.ones((1, 4, 6), np.float32))()
    fixed = Input("x", TensorType(F32, (1, 4, 6)))()
    check((Concat(0)(fixed, ones, fixed),), fixed, compiler, (1,))
    y = Neg()(x)
    check((Concat(1)(y, y), Concat(2)(y, x), Concat(1)(x, y)), x, compiler)


def test_parts_with_other_users_are_right_for_them_too(compiler: Compiler) -> None:
    x = given()
    y, z = Neg()(x), Sigmoid()(x)
    whole = Concat(1)(y, z)
    check((Reduce("sum", (1,), False)(y), whole, Add()(z, x), Reshape((N, 24))(z)), x, compiler)


def test_slices_of_slices_and_of_parts_are_views(compiler: Compiler) -> None:
    x = given()
    whole = Concat(1)(Neg()(x), Sigmoid()(x))
    middle = cut(cut(whole, 1, 2, 4), 2, 1, 4)
    check((Mul()(middle, cut(middle, 1, 0, 1)), Softmax(2)(middle), middle), x, compiler)


def test_a_strided_view_is_made_dense_for_those_who_need_it(compiler: Compiler) -> None:
    x = given()
    columns = cut(Neg()(x), 2, 2, 3)
    check((Reshape((N, 12))(columns), Transpose((1, 0, 2))(columns), Concat(2)(columns, columns)), x, compiler)


def test_outputs_may_be_inputs_constants_duplicates_and_views(compiler: Compiler) -> None:
    x = given()
    y = Neg()(x)
    flat = Reshape((N, 24))(y)
    constant = Const(np.arange(6, dtype=np.float32))()
    check((x, constant, y, y, flat, cut(y, 1, 1, 2), Reshape((N, 24))(x), cut(x, 1, 0, 2)), x, compiler)


def test_one_value_under_two_names_is_two_arrays(compiler: Compiler) -> None:
    x = given()
    y = Neg()(x)
    check((y, Reshape((N, 6, 4))(y), Relu()(y)), x, compiler)


def test_empty_tensors_and_scalars(compiler: Compiler) -> None:
    x = given()
    total = Reduce("sum", (0, 1, 2), False)(x)
    empty = cut(Neg()(x), 1, 2, 0)
    check((total, Neg()(total), empty, Concat(1)(empty, Sigmoid()(x), empty), Softmax(2)(empty)), x, compiler)
    check((Neg()(x), Concat(0)(Neg()(x), Relu()(x)), Reduce("sum", (0,), False)(x)), x, compiler, (0, 3, 0))


def test_sizes_as_a_tensor(compiler: Compiler) -> None:
    x = given()
    sizes = DimsTensor((N, N * 2, 7))()
    assert sizes.type == TensorType(I64, (3,))
    check((sizes, Concat(0)(sizes, sizes), Add()(sizes, sizes), Neg()(x)), x, compiler)


def test_two_batches_that_never_meet(compiler: Compiler) -> None:
    """Sizes of two names: memory is placed anew for each pair, and going back to the first pair is right."""
    a, b = Input("a", TensorType(F32, (N, 8)))(), Input("b", TensorType(F32, (sym("M"), 8)))()
    graph = Graph("g", (a, b), (Concat(0)(Softmax(1)(Neg()(a)), Softmax(1)(Relu()(b))), Neg()(Softmax(1)(b))))
    rng = np.random.default_rng(2)

    def feeds(n: int, m: int) -> dict[str, Array]:
        return {"a": normal(rng, n, 8), "b": normal(rng, m, 8)}

    first = feeds(2, 3)
    assert_right(graph, [first, feeds(300, 1), feeds(1, 200), feeds(3, 2), first], compiler, threads=(1, 2, 3))
