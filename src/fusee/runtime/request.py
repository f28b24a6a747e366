"""What a caller hands to a run: checked against what the plan expects, and turned into arrays that code can use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

from fusee.base.errors import RequestError
from fusee.base.types import Array
from fusee.engine.plan import Plan, PlanInput, PlanOutput
from fusee.runtime.memory import address_of, is_padded


class Request:
    """The tensors that a plan takes and gives, and checks of what callers give for them."""

    def __init__(self, plan: Plan) -> None:
        self._inputs, self._outputs = plan.inputs, plan.outputs
        self._named = [(item.name, item.type.dtype.numpy) for item in plan.inputs]

    def inputs(self, given: Mapping[str, Any]) -> list[Array]:
        """Row-major arrays in the plan's order, not copied where they are so already. Raises RequestError."""
        if len(given) != len(self._named) or any(name not in given for name, _ in self._named):
            raise _wrong_names("input", [i.name for i in self._inputs], given, _listed(self._inputs))
        return [self._input(i, given[name], dtype) for i, (name, dtype) in enumerate(self._named)]

    def _input(self, i: int, value: Any, dtype: np.dtype[Any]) -> Array:
        if type(value) is not np.ndarray:
            value = self._as_array(self._inputs[i], value)
        if value.dtype != dtype:
            raise _wrong_dtype(f"input {self._inputs[i].name!r}", self._inputs[i], value)
        if value.flags.c_contiguous and value.flags.aligned:
            return value
        return np.array(value, order="C", copy=True)

    def _as_array(self, item: PlanInput, value: Any) -> Array:
        if isinstance(value, np.ndarray | np.generic):
            return np.asarray(value)
        if hasattr(value, "__dlpack__"):
            return _from_dlpack(item, value)
        raise RequestError(
            f"input {item.name!r} is a {type(value).__name__}; expected {item.type} as a numpy array "
            "or an object with __dlpack__"
        )

    def outputs(self, given: Mapping[str, Any]) -> list[Array | None]:
        """The caller's arrays for results, in the plan's order; None for those left out. Raises RequestError."""
        names = [o.name for o in self._outputs]
        if any(name not in names for name in given):
            raise _wrong_names("output", names, given, _listed(self._outputs))
        return [self._output(item, given[item.name]) if item.name in given else None for item in self._outputs]

    def _output(self, item: PlanOutput, value: Any) -> Array:
        if not isinstance(value, np.ndarray):
            raise RequestError(f"output {item.name!r} is a {type(value).__name__}; expected a numpy array to write to")
        if value.dtype != item.type.dtype.numpy:
            raise _wrong_dtype(f"the array for output {item.name!r}", item, value)
        if not value.flags.writeable:
            raise RequestError(f"the array for output {item.name!r} is read-only; results cannot be written to it")
        return value


def writable_by_kernels(array: Array | None, inputs: Sequence[Array]) -> Array | None:
    """The caller's array when kernels can write to it directly, else None: the result is then copied to it.

    It must be row-major, aligned, readable past its end, and apart from every input.
    """
    if array is None or not (array.flags.c_contiguous and array.flags.aligned):
        return None
    start, size = address_of(array), array.nbytes
    if size and not is_padded(start, size):
        return None
    for other in inputs:
        at = address_of(other)
        if at < start + size and start < at + other.nbytes:
            return None
    return array


def _from_dlpack(item: PlanInput, value: Any) -> Array:
    try:
        return np.from_dlpack(value)
    except (BufferError, TypeError, RuntimeError, ValueError) as err:
        raise RequestError(
            f"input {item.name!r}: its DLPack tensor cannot be used as a numpy array ({err}); "
            "give a tensor in the CPU's memory"
        ) from None


def _wrong_dtype(what: str, item: PlanInput | PlanOutput, value: Array) -> RequestError:
    return RequestError(
        f"{what} has element type {value.dtype}, expected {item.type.dtype.numpy} ({item.type}); "
        f"convert it with .astype({item.type.dtype.numpy.name!r})"
    )


def _listed(items: Iterable[PlanInput | PlanOutput]) -> str:
    return ", ".join(f"{item.name}: {item.type}" for item in items) or "none"


def _wrong_names(kind: str, expected: Sequence[str], given: Mapping[str, Any], listed: str) -> RequestError:
    """Names that are missing or unknown, with the nearest name for each unknown one."""
    missing = [n for n in expected if n not in given] if kind == "input" else []
    unknown = [str(n) for n in given if n not in expected]
    parts = [f"{kind} {', '.join(map(repr, missing))} missing"] if missing else []
    for name in unknown:
        near = get_close_matches(name, expected, 1)
        parts.append(f"unknown {kind} {name!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
    shown = ", ".join(map(str, given)) or "nothing"
    return RequestError(f"{'; '.join(parts)}; the engine's {kind}s are {listed}; given: {shown}")
