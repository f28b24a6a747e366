"""How passes are tested: text before and after, numbers before and after, and what fired and declined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from fusee.base.types import Array, TensorType
from fusee.ir.compare import difference
from fusee.ir.graph import Graph, input_op
from fusee.ir.passes import Apply
from fusee.ir.reference import run
from fusee.ir.rewrite import Report, Rule, rewrite
from fusee.ir.text import parse_graph, print_graph
from fusee.ir.verify import verify
from fusee.ops import OPS

SIZES = {"N": 3, "H": 6, "W": 5}  # what names stand for when numbers are compared


def draw(kind: TensorType, rng: np.random.Generator) -> Array:
    shape = kind.bind(SIZES)
    if kind.dtype.is_float:
        return np.asarray(rng.standard_normal(shape)).astype(kind.dtype.numpy)
    return np.asarray(rng.integers(0, 2 if str(kind.dtype) == "bool" else 5, shape)).astype(kind.dtype.numpy)


def feeds_of(graph: Graph) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {input_op(v).name: draw(v.type, rng) for v in graph.inputs}


def parse(text: str, constants: Mapping[str, Array] | None = None) -> Graph:
    return parse_graph(text, OPS, constants)


def check_numbers(before: Graph, after: Graph, rtol: float = 1e-5) -> None:
    feeds = feeds_of(before)
    found = run(after, feeds)
    for name, want in run(before, feeds).items():
        assert difference(name, want, found[name]).error <= rtol, name


def check_pass(
    before: str,
    after: str,
    apply: Apply,
    fired: Iterable[str] = (),
    declined: Iterable[str] = (),
    constants: Mapping[str, Array] | None = None,
) -> Graph:
    """The text becomes ``after``, the numbers stay, these rules fired and declined, and a second run changes nothing.

    ``fired`` are rules in any order, each as often as it fired; each of ``declined`` must begin a recorded reason.
    """
    graph, report = parse(before, constants), Report()
    new = apply(graph, report)
    verify(new)
    assert print_graph(new) == print_graph(parse(after, constants))
    check_numbers(graph, new)
    assert sorted(v.rule for v in report.fired) == sorted(fired)
    reasons = [str(v) for v in report.declined]
    for wanted in declined:
        assert any(r.startswith(wanted) for r in reasons), reasons
    assert print_graph(apply(new, Report())) == print_graph(new)
    return new


def check_rewrite(
    before: str,
    after: str,
    rules: Iterable[Rule],
    fired: Iterable[str] = (),
    declined: Iterable[str] = (),
    constants: Mapping[str, Array] | None = None,
) -> Graph:
    """``check_pass`` of rules."""
    listed = tuple(rules)
    return check_pass(before, after, lambda g, r: rewrite(g, listed, r), fired, declined, constants)


def check_declines(text: str, rules: Iterable[Rule], declined: str) -> None:
    """Nothing fires, and the reason is recorded."""
    check_rewrite(text, text, rules, declined=(declined,))
