"""Host steps: functions on numpy arrays between native stretches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fusee.base.dims import Dim, evaluate, parse_dim, symbols
from fusee.base.errors import EngineError, RequestError
from fusee.base.host import FUNCTIONS
from fusee.base.types import Array
from fusee.engine.encode import DIMS_SUFFIX
from fusee.engine.plan import CallStep, HostStep
from fusee.runtime.names import Actual, Names, solve_names


def host_function(step: HostStep) -> Callable[..., tuple[Array, ...]]:
    """The function of a step. Raises EngineError when this Fusee has none of that name."""
    if step.function not in FUNCTIONS:
        known = ", ".join(sorted(FUNCTIONS))
        raise EngineError(f"step {step.op} needs the host function {step.function!r}; this Fusee has {known}")
    return FUNCTIONS[step.function]


def bound_attributes(attributes: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """Attributes with the sizes in them as numbers; sizes that only the step itself will tell are left out."""
    bound: dict[str, Any] = {}
    for key, value in attributes.items():
        if not key.endswith(DIMS_SUFFIX):
            bound[key] = value
        elif symbols(list(attribute_dims({key: value}))) <= names.keys():
            bound[key.removesuffix(DIMS_SUFFIX)] = _numbers(value, names)
    return bound


def attribute_dims(attributes: Mapping[str, Any]) -> Iterator[Dim]:
    """Every size in attributes."""
    for key, value in attributes.items():
        if key.endswith(DIMS_SUFFIX):
            yield from _leaves(value)


def _leaves(value: Any) -> Iterator[Dim]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield parse_dim(str(value))


def _numbers(value: Any, names: Names) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_numbers(v, names) for v in value)
    return evaluate(parse_dim(str(value)), names)


def learn_names(step: HostStep | CallStep, operands: Sequence[Array], results: Sequence[Array], names: Names) -> Names:
    """The names known after a step: those its results' shapes tell, and its first operand's elements."""
    known = dict(names)
    if isinstance(step, HostStep) and step.elements:
        values = [int(v) for v in operands[0].reshape(-1).tolist()]
        if len(values) != len(step.elements):
            raise RequestError(f"{step.op}: {len(values)} elements, expected {len(step.elements)} sizes")
        for name, value in zip(step.elements, values, strict=True):
            if value < 0 and "__v" not in name:
                raise RequestError(f"{step.op}: the size {name} came out as {value}; the inputs ask for the impossible")
            known[name] = value
    labelled = zip(step.results, results, strict=True)
    solve_names((Actual(f"{step.op}, result {i}", t.type, a.shape) for i, (t, a) in enumerate(labelled)), known)
    return known
