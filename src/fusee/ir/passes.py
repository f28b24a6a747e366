"""A pass turns a graph into one that means the same; the pipeline watches that it does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from fusee.base.errors import FuseeError, InternalError
from fusee.base.switches import check_level, debug_level, max_rewrites
from fusee.base.types import Array, DType
from fusee.ir.compare import compare
from fusee.ir.dump import dump
from fusee.ir.graph import Graph, Node
from fusee.ir.reference import run
from fusee.ir.rewrite import Report, Rule, Verdict, rewrite
from fusee.ir.text import print_graph
from fusee.ir.verify import verify

Apply = Callable[[Graph, Report], Graph]


@dataclass(frozen=True)
class Pass:
    """One step of the pipeline: its name, and a function that records in the report what it did."""

    name: str
    apply: Apply

    def run(self, graph: Graph) -> Graph:
        """Apply to a graph and to the subgraphs of its control flow, without a record."""
        return apply_deep(graph, self.apply, Report())


def rules_pass(name: str, rules: Iterable[Rule]) -> Pass:
    """A pass that applies rules until none fires."""
    listed = tuple(rules)
    return Pass(name, lambda graph, report: rewrite(graph, listed, report))


@dataclass(frozen=True)
class PassRecord:
    """What one pass did: seconds it took, node counts, and the rules that fired and declined."""

    name: str
    seconds: float
    nodes_before: int
    nodes_after: int
    fired: tuple[Verdict, ...]
    declined: tuple[Verdict, ...]
    graph: Graph

    def __str__(self) -> str:
        return f"{self.name}: {self.nodes_before} -> {self.nodes_after} nodes, {self.seconds:.2f} s"


def apply_deep(graph: Graph, apply: Apply, report: Report) -> Graph:
    """Apply to the graph and, first, to the graphs that its nodes hold (If, Loop, Scan)."""
    new = {n: m for n in graph.nodes() if (m := _with_bodies(n, apply, report)) is not n}
    if new:
        graph = graph.replace(
            {old: value for n, m in new.items() for old, value in zip(n.results, m.results, strict=True)}
        )
    return apply(graph, report)


def _with_bodies(node: Node, apply: Apply, report: Report) -> Node:
    bodies = {k: v for k, v in node.op.attributes().items() if isinstance(v, Graph)}
    changed = {k: new for k, v in bodies.items() if (new := apply_deep(v, apply, report)) is not v}
    return replace(node, op=replace(node.op, **changed)) if changed else node  # pyright: ignore[reportArgumentType, reportUnknownVariableType]


def run_pipeline(
    graph: Graph, passes: Sequence[Pass], feeds: Mapping[str, Array] | None = None
) -> tuple[Graph, tuple[PassRecord, ...]]:
    """Run the passes in order; after each verify, dump (FUSEE_DUMP) and, given feeds, compare numbers (FUSEE_CHECK).

    Raises InternalError naming the first pass that leaves a wrong graph or other numbers.
    """
    verify(graph)
    dump(graph, "00_start")
    wanted = run(graph, feeds) if feeds is not None and check_level() else None
    records: list[PassRecord] = []
    spent = 0
    for i, step in enumerate(passes, start=1):
        limit = max_rewrites()
        record = _run_pass(graph, step, Report(None if limit is None else max(0, limit - spent)))
        spent, graph = spent + len(record.fired), record.graph
        records.append(record)
        dump(graph, f"{i:02}_{step.name}")
        _show(record)
        if wanted is not None and feeds is not None:
            _compare(step.name, wanted, run(graph, feeds))
    return graph, tuple(records)


def _run_pass(graph: Graph, step: Pass, report: Report) -> PassRecord:
    start = perf_counter()
    try:
        after = apply_deep(graph, step.apply, report)
        verify(after)
        _check_interface(graph, after)
    except FuseeError as err:
        raise InternalError(f"pass {step.name}: {err}") from err
    counts = len(graph.nodes()), len(after.nodes())
    return PassRecord(step.name, perf_counter() - start, *counts, tuple(report.fired), tuple(report.declined), after)


def _check_interface(before: Graph, after: Graph) -> None:
    """A pass may not change what the caller gives and gets."""
    if before.inputs != after.inputs or before.names() != after.names():
        raise InternalError("it changes the graph's inputs or output names")
    for name, old, new in zip(before.names(), before.outputs, after.outputs, strict=True):
        if old.type != new.type:
            raise InternalError(f"output {name} was {old.type} and is now {new.type}")


def _show(record: PassRecord) -> None:
    """Print what FUSEE_DEBUG asks for."""
    lines = [str(record)] if debug_level() >= 1 else []
    if debug_level() >= 3:
        lines += [f"  fired {v}" for v in record.fired] + [f"  declined {v}" for v in record.declined]
    if debug_level() >= 5:
        lines.append(print_graph(record.graph, loc=True))
    if lines:
        print("\n".join(lines), file=sys.stderr)


def _compare(name: str, wanted: Mapping[str, Array], found: Mapping[str, Array]) -> None:
    for gap in compare(wanted, found):
        if gap.detail or gap.error > ROUNDED_OFTEN.get(gap.dtype, 1.0) * gap.tolerance:
            raise InternalError(f"pass {name} is the first to change numbers: {gap}")


# A graph in narrow floats rounds after every op, and widening it does away with that: so many tolerances are allowed.
ROUNDED_OFTEN = {DType.F16: 10.0, DType.BF16: 6.0}
