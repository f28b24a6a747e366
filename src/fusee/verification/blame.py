"""Find what made an engine wrong: the first pass that changes numbers, else the first step that does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from fusee.base.types import Array, TensorType
from fusee.ir import reference
from fusee.ir.graph import Const, Graph, Input, Node, Op, Value
from fusee.ir.passes import PassRecord
from fusee.ir.text import print_op
from fusee.verification.compare import Difference, compare, difference
from fusee.verification.samples import Sample

RunGraph = Callable[[Graph, Mapping[str, Array]], dict[str, Array]]


@dataclass(frozen=True)
class Blame:
    """The pass or the step at fault. For a step: the node that was computed wrongly."""

    kind: str  # "pass" or "kernel"
    name: str
    detail: str
    node: Node | None = None
    kernel: str = ""  # the kernel that computed the node, once known

    def matches(self, op: Op, types: tuple[TensorType, ...]) -> bool:
        """Whether this blames a kernel for such a call."""
        if self.node is None or types != tuple(v.type for v in self.node.operands):
            return False
        return print_op(op) == print_op(self.node.op)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.detail}"


def find_blame(records: Sequence[PassRecord], graph: Graph, sample: Sample, run_graph: RunGraph) -> Blame | None:
    """The first pass, else the first step, whose results differ from the reference; None when none does alone."""
    return blame_pass(records, sample) or blame_step(graph, sample.feeds, run_graph)


def blame_pass(records: Sequence[PassRecord], sample: Sample) -> Blame | None:
    """The first pass after which the reference interpreter gives other numbers."""
    for record in records:
        found = reference.run(record.graph, sample.feeds)
        wrong = [d for d in compare(sample.expected, found) if not d.is_equal]
        if wrong:
            return Blame("pass", record.name, str(wrong[0]))
    return None


def blame_step(graph: Graph, feeds: Mapping[str, Array], run_graph: RunGraph) -> Blame | None:
    """The first node whose compiled result differs from the reference's, all results being outputs of one engine."""
    probe, nodes = every_result(graph)
    expected = reference.run(probe, feeds)
    found = run_graph(probe, feeds)
    for name, node in nodes.items():
        off = difference(name, expected[name], found.get(name))
        if not off.is_equal:
            return Blame("kernel", print_op(node.op), _step_detail(node, off), node)
    return None


def every_result(graph: Graph) -> tuple[Graph, dict[str, Node]]:
    """The graph with every node's results as outputs, in the order they are computed, and the node of each output."""
    nodes: dict[str, Node] = {}
    outputs: list[Value] = []
    for i, node in enumerate(graph.nodes()):
        if isinstance(node.op, (Input, Const)):
            continue
        for value in node.results:
            nodes[f"n{i}.{value.index}"] = node
            outputs.append(value)
    return replace(graph, outputs=tuple(outputs), output_names=tuple(nodes)), nodes


def _step_detail(node: Node, off: Difference) -> str:
    said = off.detail or f"error {off.error:.3g}, allowed {off.tolerance:.3g}"
    types = ", ".join(str(v.type) for v in node.operands)
    return f"on ({types}), from {', '.join(node.loc) or 'nothing named'}: {said}"
