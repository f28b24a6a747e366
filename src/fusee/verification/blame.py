"""Find what made an engine wrong: the first pass that changes numbers, else the first step that does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fusee.base.types import Array, TensorType
from fusee.ir import reference
from fusee.ir.compare import Difference, compare, difference
from fusee.ir.graph import Const, Graph, Input, Node, Op, Value, input_op
from fusee.ir.passes import PassRecord
from fusee.ir.text import print_op
from fusee.ops.fused import Fused
from fusee.verification.noise import excused, excused_step
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
        differences = excused(compare(sample.expected, found), record.graph, sample.feeds, found)
        wrong = [d for d in differences if not d.is_equal]
        if wrong:
            return Blame("pass", record.name, str(wrong[0]))
    return None


def blame_step(graph: Graph, feeds: Mapping[str, Array], run_graph: RunGraph) -> Blame | None:
    """The first node whose compiled result differs from the reference's on the reference's own operands."""
    values: dict[Value, Array] = {}
    reference.run(graph, feeds, lambda node, results: values.update(zip(node.results, results, strict=True)))
    values |= {v: feeds[input_op(v).name] for v in graph.inputs}
    probe, given, nodes = apart(graph)
    found = run_graph(probe, {name: values[v] for name, v in given.items()})
    for name, value in nodes.items():
        off = _judged(difference(name, values[value], found.get(name)), value, values)
        if not off.is_equal:
            return Blame("kernel", print_op(value.op), _step_detail(value.node, off), value.node)
    return None


def _judged(off: Difference, value: Value, values: Mapping[Value, Array]) -> Difference:
    """The difference of one step's result; a fused step may amplify rounding errors inside."""
    node = value.node
    if not isinstance(node.op, Fused):
        return off
    return excused_step(off, node.op.body, [values[v] for v in node.operands], values[value], value.index)


def apart(graph: Graph) -> tuple[Graph, dict[str, Value], dict[str, Value]]:
    """A graph that computes each node by itself: every operand is an input, every result an output.

    Returns the graph, and the values that its inputs and outputs stand for. Nodes whose sizes depend on data, and
    what merely renames bytes, are left out.
    """
    given: dict[Value, Value] = {}
    nodes: dict[str, Value] = {}
    outputs: list[Value] = []
    data_sizes = frozenset[str]().union(*[n.op.defined_symbols() for n in graph.nodes()])

    def source(value: Value) -> Value:
        if isinstance(value.op, Const):
            return value
        return given.setdefault(value, Input(f"v{len(given)}", value.type)())

    for i, node in enumerate(graph.nodes()):
        types = [*node.types, *[v.type for v in node.operands]]
        if isinstance(node.op, (Input, Const)) or data_sizes & frozenset[str]().union(*[t.symbols() for t in types]):
            continue
        twin = Node(node.op, tuple(source(v) for v in node.operands), node.types, node.loc)
        for value in node.results:
            nodes[f"n{i}.{value.index}"] = value
            outputs.append(Value(twin, value.index))
    names = {input_op(twin).name: value for value, twin in given.items()}
    return Graph(f"{graph.name}_apart", tuple(given.values()), tuple(outputs), tuple(nodes)), names, nodes


def _step_detail(node: Node, off: Difference) -> str:
    said = off.detail or f"error {off.error:.3g}, allowed {off.tolerance:.3g}"
    types = ", ".join(str(v.type) for v in node.operands)
    return f"on ({types}), from {', '.join(node.loc) or 'nothing named'}: {said}"
