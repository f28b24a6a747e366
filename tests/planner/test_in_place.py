"""A result takes the memory of an operand only where nothing is lost by it."""

from __future__ import annotations

import numpy as np

from fusee.base.dims import sym
from fusee.base.types import F32, DType, TensorType
from fusee.ir.graph import Graph, Input, Value
from fusee.kernels.cpu import CPU
from fusee.kernels.cpu.compile import Compiler
from fusee.kernels.cpu.pointwise import Pointwise
from fusee.kernels.kernel import KernelCall, Operand
from fusee.ops.activations import Sigmoid
from fusee.ops.binary import Add, Mul
from fusee.ops.control import After
from fusee.ops.elementwise import Cast, Neg, Relu, Tanh
from fusee.ops.fused import Fused
from fusee.ops.reduce import Softmax
from fusee.ops.shape import Expand, Slice, Transpose
from planner.made import assert_right, normal
from planner.soundness import arena_merges

N = sym("N")
SQUARE = TensorType(F32, (N, 6, 6))


def given(name: str = "x", type: TensorType = SQUARE) -> Value:
    return Input(name, type)()


def merges(value: Value, x: Value, compiler: Compiler, *more: Value) -> int:
    """How many results share memory, after the engine has proved right."""
    graph = Graph("g", (x,), (value, *more))
    rng = np.random.default_rng(0)
    planned = assert_right(graph, [{"x": normal(rng, n, 6, 6)} for n in (2, 40)], compiler)
    return arena_merges(planned.drawings[0])


def test_a_chain_works_in_one_place(compiler: Compiler) -> None:
    x = given()
    assert merges(Softmax(2)(Relu()(Tanh()(Neg()(Softmax(2)(x))))), x, compiler) == 3


def test_a_result_whose_operand_is_needed_later_has_its_own_memory(compiler: Compiler) -> None:
    x = given()
    first = Softmax(2)(x)
    once = Neg()(first)
    assert merges(Softmax(2)(Add()(Softmax(1)(once), first)), x, compiler) == 1  # the sum takes one of its operands


def test_a_transposed_operand_is_not_overwritten(compiler: Compiler) -> None:
    x = given()
    inner = Softmax(2)(x)
    assert merges(Softmax(2)(Transpose((0, 2, 1))(inner)), x, compiler) == 0


def test_an_operand_that_is_also_read_elsewhere_under_another_name_is_not_overwritten(compiler: Compiler) -> None:
    """Two names of the same bytes: one read in place, of the other the first row for every row."""
    a, b = given("a"), given("b")
    first_row = Expand((N, 6, 6))(Slice((0, 0, 0), (N, 1, 6), (1, 1, 1))(b))
    body = Graph("body", (a, b), (Add()(a, first_row),))
    x = given()
    inner = Softmax(2)(x)
    again = After()(inner, x)
    assert merges(Softmax(2)(Fused(body)(inner, again)), x, compiler) == 0
    assert merges(Softmax(2)(Fused(body)(inner, Softmax(1)(x))), x, compiler) == 1


def test_inputs_and_outputs_keep_their_memory(compiler: Compiler) -> None:
    x = given()
    shown = Softmax(2)(x)
    assert merges(Softmax(2)(Neg()(shown)), x, compiler, shown) == 0
    assert merges(Neg()(x), x, compiler) == 0


def call_of(value: Value, compiler: Compiler) -> KernelCall:
    return KernelCall.of(value.op, [Operand(v.type) for v in value.operands], compiler.target)


def test_pointwise_overwrites_operands_of_its_result_type_read_in_place(compiler: Compiler) -> None:
    x, y = given("x"), given("y")
    row = given("row", TensorType(F32, (1, 6)))
    kernel = next(k for k in CPU.kernels if isinstance(k, Pointwise))
    cases = (
        (Sigmoid()(x), (0,)),
        (Mul()(x, y), (0, 1)),
        (Mul()(row, y), (1,)),
        (Transpose((0, 2, 1))(x), ()),
        (Cast(DType.I32)(x), ()),
        (Slice((0, 1, 0), (N, 5, 6), (1, 1, 1))(x), ()),
    )
    for value, expected in cases:
        assert kernel.overwrites(call_of(value, compiler)) == expected, value.op
