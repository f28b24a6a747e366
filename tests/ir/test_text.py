"""Text round trips, and says what it expected when it does not parse."""

from __future__ import annotations

import numpy as np
import pytest

from fusee.base.errors import ParseError
from fusee.base.types import DType
from fusee.ir.graph import Const, Graph
from fusee.ir.text import parse_graph, print_graph, print_op
from ir.toys import TOYS, Best, Twice

EVERYTHING = """graph net(%x: f32[N,3], %"input.1": i64[2] {elements=("s__v0", "s__v1")})
  %0, %1 = best(%x) {k=<2*N>, axis=1, ratio=1e-05, to=f16, mode="a\\"b", last=true, limit=7} : f32[N,3], i64[N,3]
  %2, %3 = best(%0) {k=N, parts=(1, (2.5, nan), none, f32, <f16>, f32[2,N], <((H)//(2))>)} : f32[N,3], i64[N,3]
  %4, %5 = best(%2) {parts=(i64[2] {value=[1, 2]},), body={
    graph inner(%a: f32[2])
      %0 = twice(%a) : f32[2]
      return out=%0, "b 1"=%a
  }} : f32[N,3], i64[N,3]
  %6 = const {value=[1.0, -inf, nan]} : f32[3]
  %7 = const {value=0.5} : f32[64,3,7,7]
  %8 = plus(%6, %7) : f32[3]
  return scores=%4, "best.1"=%3, third=%8"""


def test_every_kind_of_line_round_trips():
    assert print_graph(parse_graph(EVERYTHING, TOYS)) == EVERYTHING


def test_provenance_round_trips():
    text = """graph f(%x: f32[2])
  %0 = twice(%x) : f32[2]  # from /a/Conv, "odd name"
  return %0"""
    graph = parse_graph(text, TOYS)
    assert graph.outputs[0].node.loc == ("/a/Conv", "odd name")
    assert print_graph(graph, loc=True) == text
    assert "#" not in print_graph(graph)


def test_comments_and_declared_types_are_optional():
    graph = parse_graph(
        """
        graph f(%x: f32[2])  # a comment
          # another
          %a = twice(%x)
          return %a""",
        TOYS,
    )
    assert str(graph.outputs[0].type) == "f32[2]"


def test_large_constants_go_to_the_table():
    array = np.arange(100, dtype=np.float32)
    graph = Graph("f", (), (Twice()(Const(array)()),))
    table: dict[str, np.ndarray] = {}
    text = print_graph(graph, table)
    assert list(table.values()) == [array]
    again = parse_graph(text, TOYS, table)
    assert again.outputs[0].operands[0].op.value is array
    with pytest.raises(ParseError, match=r"expected f32\[100\] in the table of constants, found none"):
        parse_graph(text, TOYS)


@pytest.mark.parametrize("dtype", list(DType))
def test_constants_of_every_type_round_trip(dtype: DType):
    array = np.array([[0, 1, 1]], dtype.numpy)
    if dtype in (DType.F64, DType.F32, DType.F16, DType.BF16):
        array = np.array([[0.1, -3.3e-5, 65504.0]], dtype.numpy)
    graph = Graph("f", (), (Const(array)(),))
    again = parse_graph(print_graph(graph), TOYS).outputs[0].op.value
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again.view(np.uint8), array.view(np.uint8))


def test_an_op_prints_with_its_attributes():
    assert print_op(Best(k=3, axis=1)) == "best {k=3, axis=1}"
    assert print_op(Twice()) == "twice"


WRONG = (
    ("graph f(%x: f32[2])\n %0 = twise(%x)", "line 2: unknown op 'twise': expected twice, in '%0 = twise(%x)'"),
    (
        "graph f(%x: f32[2])\n %x = twice(%x)\n return %x",
        "line 2: %x is defined twice, in '%x = twice(%x)'",
    ),
    ("graph f(%x: f32[2]) return %y", "line 1: %y is used before it is defined, got ''"),
    (
        "graph f(%x: f32[2])\n %0 = twice(%x) : f32[3]\n return %0",
        "line 2: twice gives f32[2], but its line says f32[3], in '%0 = twice(%x) : f32[3]'",
    ),
    (
        "graph f(%x: f32[2])\n %0 = best(%x)\n return %0",
        "line 2: best has 2 results, but its line names 1, in '%0 = best(%x)'",
    ),
    (
        "graph f(%x: f32[2])\n %0, %1 = best(%x) {q=1}\n return %0",
        "line 2: best: Best.__init__() got an unexpected keyword argument 'q', in '%0, %1 = best(%x) {q=1}'",
    ),
    (
        "graph f(%x: f32[2])\n %0 = twice(%x, %x)\n return %0",
        "line 2: twice does not take 2 operands, in '%0 = twice(%x, %x)'",
    ),
    (
        "graph f()\n %0 = const {value=[1, 2]} : f32[3]\n return %0",
        "line 2: the value's shape is (2,): expected that of f32[3], in '%0 = const {value=[1, 2]} : f32[3]'",
    ),
    ("graph f() return 3x", "line 1: expected '=' and a value, got ''"),
    (
        "graph f(%x: f33[2]) return %x",
        "line 1: expected a tensor type such as f32[N,3,224,224], got 'f33[2]', got ') return %x'",
    ),
)


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_does_not_parse_says_where_and_what(text: str, message: str):
    with pytest.raises(ParseError) as err:
        parse_graph(text, TOYS)
    assert str(err.value) == message
