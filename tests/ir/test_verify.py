"""The verifier finds each kind of fault and quotes it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fusee.base.dims import sym
from fusee.base.errors import InternalError
from fusee.base.types import TensorType
from fusee.ir.graph import Graph, Input, Node, Value
from fusee.ir.text import parse_graph
from fusee.ir.verify import verify
from ir.toys import TOYS, Best, Count, Plus, Twice

F32_2 = TensorType.parse("f32[2]")


def test_a_sound_graph_passes():
    verify(parse_graph("graph f(%x: f32[N]) %0, %1 = best(%x) {k=N} return %0", TOYS))


def test_a_wrong_type_is_quoted_in_its_place():
    x = Input("x", F32_2)()
    first = Twice()(x)
    wrong = Node(Twice(), (first,), (TensorType.parse("f32[3]"),), ("/bad",))
    graph = Graph("f", (x,), (Value(wrong),))
    with pytest.raises(InternalError) as err:
        verify(graph)
    assert str(err.value) == (
        "graph f is wrong: Twice is f32[3], its operands give f32[2]\n"
        "graph f(%x: f32[2])\n"
        "  %0 = twice(%x) : f32[2]\n"
        "  %1 = twice(%0) : f32[3]  # from /bad\n"
        "  ^^^ Twice is f32[3], its operands give f32[2]\n"
        "  return %1"
    )


def test_an_undeclared_input():
    graph = Graph("f", (), (Twice()(Input("x", F32_2)()),))
    with pytest.raises(InternalError, match="input x is used but is not an input of graph f"):
        verify(graph)


def test_a_size_that_nothing_gives():
    x = Input("x", F32_2)()
    graph = Graph("f", (x,), (Best(k=sym("K")).apply(x)[0],))
    with pytest.raises(InternalError, match="K has no value before Best needs it"):
        verify(graph)


def test_a_size_must_come_from_above():
    x = Input("x", F32_2)()
    counted = Count("K")(x)
    beside = Best(k=sym("K")).apply(x)[0]
    with pytest.raises(InternalError, match="K has no value before Best needs it"):
        verify(Graph("f", (x,), (counted, beside)))
    verify(Graph("f", (x,), (Best(k=sym("K")).apply(counted)[0],)))


def test_subgraphs_are_checked():
    y = Input("y", F32_2)()
    body = Graph("body", (), (Twice()(y),))
    x = Input("x", F32_2)()
    with pytest.raises(InternalError, match="input y is used but is not an input of graph body"):
        verify(Graph("f", (x,), (Best(body=body).apply(x)[0],)))


def test_inputs_come_from_input_and_have_names_of_their_own():
    x, again = Input("x", F32_2)(), Input("x", F32_2)()
    with pytest.raises(InternalError, match="inputs x appear twice"):
        verify(Graph("f", (x, again), (Plus()(x, again),)))
    twice = Twice()(x)
    with pytest.raises(InternalError, match="expected it to come from Input"):
        verify(Graph("f", (twice,), (twice,)))


def test_names_match_outputs():
    x = Input("x", F32_2)()
    with pytest.raises(InternalError, match="graph f has 1 outputs and 2 names for them"):
        verify(replace(Graph("f", (x,), (x,)), output_names=("a", "b")))
