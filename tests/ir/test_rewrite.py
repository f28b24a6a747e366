"""The driver: what it matches, what it refuses, what it keeps."""

from __future__ import annotations

import pytest

from fusee.base.errors import InternalError
from fusee.ir.graph import Graph, Input, Value, const
from fusee.ir.pattern import Either, Known, Pat, fits, need
from fusee.ir.rewrite import Report, rebuild, rewrite, rule
from fusee.ir.text import parse_graph, print_graph
from ir.toys import TOYS, Best, Plus, Twice


@rule(Pat(Twice, Pat(Twice, "x")))
def four_times(x: Value) -> Value:
    return Plus()(x, x)


@rule(Pat(Plus, "x", Pat(Twice, "x"), commutative=True))
def three_times(x: Value) -> Value:
    return Twice()(x)


@rule(Pat(Best, Pat(Twice, "x")))
def best_of_twice(x: Value) -> tuple[Value, ...]:
    return Best(axis=1).apply(x)


def rewritten(text: str, *rules: object, limit: int | None = None) -> tuple[str, Report]:
    report = Report(limit)
    graph = parse_graph(text, TOYS)
    new = rewrite(graph, rules, report)  # pyright: ignore[reportArgumentType]
    return print_graph(new), report


CHAIN = """graph f(%x: f32[2])
  %0 = twice(%x) : f32[2]  # from a
  %1 = twice(%0) : f32[2]  # from b
  %2 = twice(%1) : f32[2]  # from c
  %3 = twice(%2) : f32[2]  # from d
  return %3"""


def test_two_rewrites_in_one_sweep_both_hold():
    text, report = rewritten(CHAIN, four_times)
    assert text.splitlines()[1:] == [
        "  %0 = plus(%x, %x) : f32[2]",
        "  %1 = plus(%0, %0) : f32[2]",
        "  return %1",
    ]
    assert [str(v) for v in report.fired] == ["four-times at Twice (b)", "four-times at Twice (d)"]


def test_provenance_is_the_union():
    new = rewrite(parse_graph(CHAIN, TOYS), (four_times,))
    assert new.outputs[0].node.loc == ("c", "d")


def test_an_inner_value_used_elsewhere_stays():
    text = """graph f(%x: f32[2])
  %0 = twice(%x) : f32[2]
  %1 = twice(%0) : f32[2]
  return %0, %1"""
    after, report = rewritten(text, four_times)
    assert after == text
    assert [str(v) for v in report.declined] == ["four-times at Twice: Twice is used elsewhere"]


def test_uses_are_counted_as_the_graph_changes():
    """The first rewrite takes the second user of %0 away, so that the next one may have it."""
    text = """graph f(%x: f32[2])
  %0 = twice(%x) : f32[2]
  %1 = plus(%x, %0) : f32[2]
  %2 = twice(%0) : f32[2]
  %3 = plus(%1, %2) : f32[2]
  return %3"""

    @rule(Pat(Plus, "x", Pat(Twice, "x", shared=True)))
    def same_as_x(x: Value) -> Value:
        return x

    after, report = rewritten(text, same_as_x, four_times)
    assert [v.rule for v in report.fired] == ["same-as-x", "four-times"]
    assert "twice" not in after


def test_a_name_used_twice_is_one_value_and_operands_commute():
    text = """graph f(%x: f32[2], %y: f32[2])
  %0 = twice(%x)
  %1 = plus(%0, %x)
  %2 = plus(%0, %y)
  return %1, %2"""
    after, report = rewritten(text.replace("%2 = plus(%0, %y)", "%2 = plus(%y, %y)"), three_times)
    assert [v.rule for v in report.fired] == ["three-times"]
    assert "plus(%0" not in after
    assert not rewritten(text.replace("%1 = plus(%0, %x)", "%1 = plus(%x, %x)"), three_times)[1].fired


def test_multi_result_nodes_are_replaced_whole():
    text = """graph f(%x: f32[2])
  %0 = twice(%x)
  %1, %2 = best(%0)
  return %2, %1"""
    after, _ = rewritten(text, best_of_twice)
    assert after.splitlines()[1:] == ["  %0, %1 = best(%x) {axis=1} : f32[2], i64[2]", "  return %1, %0"]


def test_constants_and_alternatives():
    pattern = Either(Pat(Plus, "x", Known(near=0.5)), Pat(Plus, "x", Known("c", near=2.0)))

    @rule(pattern)
    def halves(x: Value, c: Value | None = None) -> Value:
        need(c is None, "it is two")
        return Twice()(x)

    x = Input("x", const([1.0]).type)()
    graph = Graph("f", (x,), tuple(Plus()(x, const([c])) for c in (0.5002, 2.0, 3.0)))
    report = Report()
    new = rewrite(graph, (halves,), report)
    assert [type(v.op) for v in new.outputs] == [Twice, Plus, Plus]
    assert [str(v) for v in report.declined] == ["halves at Plus: it is two"]


def test_a_replacement_of_another_type_is_declined():
    @rule(Pat(Twice, "x"))
    def shorter(x: Value) -> Value:
        return const([1.0])

    _, report = rewritten("graph f(%x: f32[2]) %0 = twice(%x) return %0", shorter)
    assert [str(v) for v in report.declined] == ["shorter at Twice: the replacement is f64[1], not f32[2]"]


def test_what_does_not_fit_leaves_no_record():
    @rule(Pat(Twice, "x"))
    def never(x: Value) -> Value:
        fits(False)
        return x

    _, report = rewritten(CHAIN, never)
    assert not report.fired
    assert not report.declined


def test_the_limit_stops_rewriting():
    _, report = rewritten(CHAIN, four_times, limit=1)
    assert len(report.fired) == 1


def test_rules_that_undo_each_other_are_reported():
    @rule(Pat(Twice, "x"))
    def there(x: Value) -> Value:
        return Plus()(x, x)

    @rule(Pat(Plus, "x", "x"))
    def back(x: Value) -> Value:
        return Twice()(x)

    with pytest.raises(InternalError, match="do not come to rest; the last to fire: back, there"):
        rewritten(CHAIN, there, back)


def test_rebuild_visits_nodes_on_their_new_operands():
    seen: list[str] = []

    def visit(node):
        seen.append(type(node.operands[0].op).__name__)
        return Plus()(node.operands[0], node.operands[0]).node.results

    new = rebuild(parse_graph(CHAIN, TOYS), visit)
    assert seen == ["Input", "Plus", "Plus", "Plus"]
    assert type(new.outputs[0].op) is Plus


def test_a_long_chain_is_rewritten_in_few_sweeps():
    x = Input("x", const([1.0]).type)()
    value = x
    for _ in range(6000):
        value = Twice()(value)
    report = Report()
    rewrite(Graph("f", (x,), (value,)), (four_times,), report)
    assert len(report.fired) == 3000
