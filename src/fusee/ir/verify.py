"""What must hold of a graph after every pass."""

from __future__ import annotations

from collections.abc import Callable

from fusee.base.errors import FuseeError, InternalError
from fusee.ir.graph import Graph, Input, Node, Value, input_op
from fusee.ir.text import graph_lines

CONTEXT_LINES = 5


def verify(graph: Graph, outer: frozenset[str] = frozenset()) -> None:
    """Check inputs, types, and that sizes are known before they are used; subgraphs as well.

    ``outer`` are the names that a graph around this one gives. Raises InternalError with the lines around the fault.
    """
    _check_interface(graph)
    known: dict[Node, frozenset[str]] = {}
    given = outer.union(*[_given(v) for v in graph.inputs])
    for node in graph.nodes():
        known[node] = given.union(*[known[v.node] for v in node.operands], node.op.defined_symbols())
        for check in CHECKS:
            if reason := check(graph, node, known[node]):
                raise InternalError(_quoted(graph, node, reason))
        for body in node.op.subgraphs():
            verify(body, known[node])


def _given(value: Value) -> frozenset[str]:
    """The names that an input's shape and elements give values to."""
    return value.type.symbols() | frozenset(input_op(value).elements)


def _check_interface(graph: Graph) -> None:
    strangers = [v for v in graph.inputs if not isinstance(v.op, Input)]
    if strangers:
        raise InternalError(f"graph {graph.name}: an input is {strangers[0]!r}; expected it to come from Input")
    names = [input_op(v).name for v in graph.inputs]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise InternalError(f"graph {graph.name}: inputs {', '.join(twice)} appear twice; expected distinct names")
    if graph.output_names and len(graph.output_names) != len(graph.outputs):
        found = f"{len(graph.outputs)} outputs and {len(graph.output_names)} names for them"
        raise InternalError(f"graph {graph.name} has {found}; expected as many names, or none")


def _undeclared(graph: Graph, node: Node, known: frozenset[str]) -> str:
    if isinstance(node.op, Input) and node.results[0] not in graph.inputs:
        return f"input {node.op.name} is used but is not an input of graph {graph.name}"
    return ""


def _mistyped(graph: Graph, node: Node, known: frozenset[str]) -> str:
    try:
        types = node.op.result_types(*[v.type for v in node.operands])
    except FuseeError as err:
        return f"{type(node.op).__name__} refuses its operands: {err}"
    found, expected = (", ".join(map(str, t)) for t in (node.types, types))
    return "" if types == node.types else f"{type(node.op).__name__} is {found}, its operands give {expected}"


def _unknown_size(graph: Graph, node: Node, known: frozenset[str]) -> str:
    used = node.op.symbols().union(*[t.symbols() for t in node.types])
    missing = sorted(used - known) if not node.op.subgraphs() else sorted(_type_symbols(node) - known)
    return f"{', '.join(missing)} has no value before {type(node.op).__name__} needs it" if missing else ""


def _type_symbols(node: Node) -> frozenset[str]:
    return frozenset[str]().union(*[t.symbols() for t in node.types])


CHECKS: tuple[Callable[[Graph, Node, frozenset[str]], str], ...] = (_undeclared, _mistyped, _unknown_size)


def _quoted(graph: Graph, node: Node, reason: str) -> str:
    """The reason under the guilty line, with the lines around it."""
    lines = graph_lines(graph)
    at = next((i for i, (shown, _) in enumerate(lines) if shown is node), 0)
    first = max(0, at - CONTEXT_LINES)
    around = [line for _, line in lines[first : at + CONTEXT_LINES + 1]]
    around.insert(at - first + 1, f"  ^^^ {reason}")
    return f"graph {graph.name} is wrong: {reason}\n" + "\n".join(around)
