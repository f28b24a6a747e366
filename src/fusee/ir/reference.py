"""Run a graph on numpy with the references of its ops: slow, obvious, and the judge of every kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fusee.base.dims import Dim, match
from fusee.base.errors import InternalError, RequestError
from fusee.base.types import Array
from fusee.ir.graph import Const, Graph, Input, Node, Value, input_op

Observer = Callable[[Node, tuple[Array, ...]], None]
Disturb = Callable[[Array], Array]


def run(
    graph: Graph, feeds: Mapping[str, Any], observe: Observer | None = None, disturb: Disturb | None = None
) -> dict[str, Array]:
    """Compute the graph's outputs by name from its inputs by name.

    ``observe`` sees each node with its results; ``disturb`` may change a result before it is used. Raises
    RequestError when an input is missing or has another type.
    """
    missing = [input_op(v).name for v in graph.inputs if input_op(v).name not in feeds]
    if missing:
        raise RequestError(f"graph {graph.name} needs the inputs {', '.join(missing)}")
    operands = [np.asarray(feeds[input_op(v).name]) for v in graph.inputs]
    return dict(zip(graph.names(), evaluate(graph, operands, observe, disturb), strict=True))


def evaluate(
    graph: Graph, operands: Sequence[Array], observe: Observer | None = None, disturb: Disturb | None = None
) -> tuple[Array, ...]:
    """Compute the outputs from the inputs in order. A value is dropped after its last use."""
    sizes: dict[str, int] = {}
    values: dict[Value, Array] = {}
    for value, array in zip(graph.inputs, operands, strict=True):
        _bind_input(input_op(value), array, sizes)
        values[value] = array
    left = graph.uses()
    for node in graph.nodes():
        if isinstance(node.op, Input):
            continue
        arrays = tuple(values[v] for v in node.operands)
        results = _compute(node, arrays, sizes)
        if disturb and not isinstance(node.op, Const):
            results = tuple(disturb(r) for r in results)
        if observe:
            observe(node, results)
        values.update(zip(node.results, results, strict=True))
        for v in node.operands:
            left[v] -= 1
            if not left[v]:
                values.pop(v, None)
    return tuple(values[v] for v in graph.outputs)


def _bind_input(op: Input, array: Array, sizes: dict[str, int]) -> None:
    if array.dtype != op.type.dtype.numpy:
        raise RequestError(f"input {op.name} is {op.type}, but the array given is {array.dtype}")
    if problem := match(op.type.shape, array.shape, sizes):
        raise RequestError(f"input {op.name} is {op.type}: {problem}")
    sizes.update(zip(op.elements, (int(x) for x in array.ravel()), strict=False))


def _compute(node: Node, operands: tuple[Array, ...], sizes: dict[str, int]) -> tuple[Array, ...]:
    if isinstance(node.op, Const):
        return (node.op.value,)
    known: dict[str, Dim] = dict(sizes)
    results = node.op.bind(known).compute(*operands)
    sizes.update(
        zip(node.op.element_symbols(), (int(x) for x in operands[0].ravel()) if operands else (), strict=False)
    )
    for result, declared in zip(results, node.types, strict=True):
        problem = match(declared.shape, result.shape, sizes)
        if problem or result.dtype != declared.dtype.numpy:
            found = problem or f"{result.dtype}"
            raise InternalError(f"the reference of {type(node.op).__name__} gave {found}; its type is {declared}")
    return results
