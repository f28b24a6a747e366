"""The pipeline watches its passes: types, interface, numbers, and what it writes down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fusee.base.errors import InternalError
from fusee.base.types import TensorType
from fusee.ir.graph import Graph, Node, Value
from fusee.ir.passes import Pass, rules_pass, run_pipeline
from fusee.ir.pattern import Pat
from fusee.ir.rewrite import Report, rule
from fusee.ir.text import parse_graph, print_graph
from ir.toys import TOYS, Best, Plus, Twice

TEXT = """graph f(%x: f32[2])
  %0 = twice(%x) : f32[2]
  %1 = twice(%0) : f32[2]
  return y=%1"""
FEEDS = {"x": np.array([1.0, -2.0], np.float32)}


@rule(Pat(Twice, "x"))
def as_plus(x: Value) -> Value:
    return Plus()(x, x)


@rule(Pat(Plus, "x", "x"))
def forgets(x: Value) -> Value:
    return x


def test_a_pipeline_records_what_it_did():
    new, records = run_pipeline(
        parse_graph(TEXT, TOYS), (rules_pass("plus", (as_plus,)), rules_pass("again", (as_plus,)))
    )
    assert [(r.name, r.nodes_before, r.nodes_after, len(r.fired)) for r in records] == [
        ("plus", 3, 3, 2),
        ("again", 3, 3, 0),
    ]
    assert records[-1].graph is new
    assert "twice" not in print_graph(new)


def test_the_first_wrong_pass_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FUSEE_CHECK", "1")
    steps = (rules_pass("fine", (as_plus,)), rules_pass("wrong", (forgets,)), rules_pass("late", (as_plus,)))
    with pytest.raises(
        InternalError, match=r"pass wrong is the first to change numbers: output y .* error 0\.5, allowed 0\.0001"
    ):
        run_pipeline(parse_graph(TEXT, TOYS), steps, FEEDS)
    monkeypatch.setenv("FUSEE_CHECK", "0")
    run_pipeline(parse_graph(TEXT, TOYS), steps, FEEDS)


def test_a_pass_that_breaks_types_is_named():
    def breaks(graph: Graph, report: Report) -> Graph:
        x = graph.inputs[0]
        return replace(graph, outputs=(Value(Node(Twice(), (x,), (TensorType.parse("f32[3]"),))),))

    with pytest.raises(InternalError, match="pass breaks: graph f is wrong: Twice is"):
        run_pipeline(parse_graph(TEXT, TOYS), (Pass("breaks", breaks),))


def test_a_pass_may_not_change_what_the_caller_sees():
    def renames(graph: Graph, report: Report) -> Graph:
        return replace(graph, output_names=("z",))

    def retypes(graph: Graph, report: Report) -> Graph:
        return replace(graph, outputs=(Best().apply(graph.outputs[0])[1],))

    with pytest.raises(InternalError, match="pass renames: it changes the graph's inputs or output names"):
        run_pipeline(parse_graph(TEXT, TOYS), (Pass("renames", renames),))
    with pytest.raises(InternalError, match=r"pass retypes: output y was f32\[2\] and is now i64\[2\]"):
        run_pipeline(parse_graph(TEXT, TOYS), (Pass("retypes", retypes),))


def test_passes_reach_into_subgraphs():
    text = """graph f(%x: f32[2])
      %0, %1 = best(%x) {body={
        graph inner(%a: f32[2])
          %0 = twice(%a)
          return %0
      }}
      return %0"""
    new, records = run_pipeline(parse_graph(text, TOYS), (rules_pass("plus", (as_plus,)),))
    body = new.outputs[0].op.body
    assert body.outputs[0].op == Plus()
    assert len(records[0].fired) == 1


def test_rewrites_are_counted_over_all_passes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FUSEE_MAX_REWRITES", "3")
    steps = (rules_pass("plus", (as_plus,)), rules_pass("forget", (forgets,)))
    _, records = run_pipeline(parse_graph(TEXT, TOYS), steps)
    assert [len(r.fired) for r in records] == [2, 1]


def test_each_stage_is_dumped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("FUSEE_DUMP", str(tmp_path))
    run_pipeline(parse_graph(TEXT, TOYS), (rules_pass("plus", (as_plus,)),))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00_start.txt", "01_plus.txt"]
    assert (tmp_path / "00_start.txt").read_text() == TEXT + "\n"


def test_debug_shows_what_fired_and_declined(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("FUSEE_DEBUG", "3")
    run_pipeline(parse_graph(TEXT, TOYS), (rules_pass("plus", (as_plus,)),))
    shown = capsys.readouterr().err
    assert "plus: 3 -> 3 nodes" in shown
    assert "  fired as-plus at Twice" in shown
