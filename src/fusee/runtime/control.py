"""If, Loop and Scan at run time: run sub-plans on whole tensors. What they mean is said in ``ops.control``.

Operands and attributes of each kind are listed in ``engine.plan.CallStep``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from fusee.base.dims import evaluate, symbols
from fusee.base.errors import EngineError, RequestError
from fusee.base.types import Array, TensorType
from fusee.engine.plan import CallStep
from fusee.runtime.names import Names


class Body(Protocol):
    """A sub-plan made ready: runs on whole tensors, under the names that the plan around it knows."""

    def run(self, inputs: Sequence[Array], *, outer: Names) -> Sequence[Array]: ...


def control_flow(step: CallStep, bodies: Sequence[Body], names: Names) -> Callable[..., tuple[Array, ...]]:
    """The function of a step: operands to results. Raises EngineError for a kind that this Fusee does not know."""
    if step.kind not in _KINDS:
        raise EngineError(f"step {step.op} is control flow of kind {step.kind!r}; this Fusee has {', '.join(_KINDS)}")
    run, plans, attributes = _KINDS[step.kind]
    if len(bodies) != plans or any(a not in step.attributes for a in attributes):
        raise EngineError(f"step {step.op}: {step.kind} takes {plans} plans and attributes {', '.join(attributes)}")
    return lambda *operands: tuple(run(step, bodies, names, operands))


def _run_if(step: CallStep, bodies: Sequence[Body], names: Names, operands: Sequence[Array]) -> Sequence[Array]:
    return bodies[0 if operands[0].item() else 1].run(operands[1:], outer=names)


def _run_loop(step: CallStep, bodies: Sequence[Body], names: Names, operands: Sequence[Array]) -> Sequence[Array]:
    carried = step.attributes["carried"]
    limit, go_on = int(operands[0].item()), bool(operands[1].item())
    values, captures = list(operands[2 : 2 + carried]), operands[2 + carried :]
    rows: list[Sequence[Array]] = []
    while go_on and len(rows) < limit:
        count, condition = np.array(len(rows), np.int64), np.array(True)
        results = bodies[0].run([count, condition, *values, *captures], outer=names)
        go_on, values = bool(results[0].item()), list(results[1 : 1 + carried])
        rows.append(results[1 + carried :])
    collected = enumerate(step.results[carried:])
    return [*values, *[_joined(step, [r[i] for r in rows], t.type, 0, names) for i, t in collected]]


def _run_scan(step: CallStep, bodies: Sequence[Body], names: Names, operands: Sequence[Array]) -> Sequence[Array]:
    attributes = step.attributes
    states, scanned = attributes["states"], len(attributes["input_axes"])
    values, captures = list(operands[:states]), operands[states + scanned :]
    cuts = zip(operands[states:], attributes["input_axes"], attributes["input_reverse"], strict=False)
    sequences = [_slices(*cut) for cut in cuts]
    rows: list[Sequence[Array]] = []
    for i in range(_common_length(step, sequences)):
        results = bodies[0].run([*values, *[np.array(s[i], order="C") for s in sequences], *captures], outer=names)
        values = list(results[:states])
        rows.append(results[states:])
    return [*values, *_scanned_results(step, rows, names)]


def _scanned_results(step: CallStep, rows: Sequence[Sequence[Array]], names: Names) -> list[Array]:
    places = zip(
        step.results[step.attributes["states"] :],
        step.attributes["output_axes"],
        step.attributes["output_reverse"],
        strict=True,
    )
    return [
        _joined(step, [r[i] for r in (rows[::-1] if backwards else rows)], t.type, axis, names)
        for i, (t, axis, backwards) in enumerate(places)
    ]


def _slices(sequence: Array, axis: int, backwards: bool) -> Array:
    first = np.moveaxis(sequence, axis, 0)
    return first[::-1] if backwards else first


def _common_length(step: CallStep, sequences: Sequence[Array]) -> int:
    lengths = {len(s) for s in sequences}
    if len(lengths) != 1:
        raise RequestError(f"{step.op}: the sequences have {sorted(lengths)} slices; they must have equally many")
    return lengths.pop()


def _joined(step: CallStep, rows: Sequence[Array], declared: TensorType, axis: int, names: Names) -> Array:
    """Results of all iterations along a new axis; with no iteration, sizes that nothing tells are 0."""
    if not rows:
        shape = [evaluate(d, names) if symbols(d) <= names.keys() else 0 for d in declared.shape]
        return np.zeros((*shape[:axis], 0, *shape[axis + 1 :]), declared.dtype.numpy)
    shapes = {r.shape for r in rows}
    if len(shapes) != 1:
        raise RequestError(f"{step.op}: iterations gave shapes {sorted(shapes)}; collected values must have one shape")
    return np.stack(rows, axis=axis)


_Run = Callable[[CallStep, Sequence[Body], Names, Sequence[Array]], Sequence[Array]]
_SCAN_ATTRIBUTES = ("states", "input_axes", "input_reverse", "output_axes", "output_reverse")
# By kind: how it runs, how many plans it has, which attributes.
_KINDS: dict[str, tuple[_Run, int, tuple[str, ...]]] = {
    "if": (_run_if, 2, ()),
    "loop": (_run_loop, 1, ("carried",)),
    "scan": (_run_scan, 1, _SCAN_ATTRIBUTES),
}
