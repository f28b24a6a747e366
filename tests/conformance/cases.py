"""The ONNX standard's node cases, generated in memory by the pinned onnx package."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases


@dataclass(frozen=True, eq=False)
class Case:
    """One model with inputs and the outputs the standard expects. ``feeds`` is None when an input is no tensor."""

    name: str
    model: onnx.ModelProto
    feeds: dict[str, np.ndarray] | None
    expected: tuple[np.ndarray | None, ...]
    rtol: float
    atol: float

    @property
    def ops(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(n.op_type for n in self.model.graph.node))


@cache
def node_cases() -> tuple[Case, ...]:
    """All cases, in the order of their names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    return tuple(_case(c) for c in sorted(found, key=lambda c: c.name))


def _case(case: Any) -> Case:
    inputs, outputs = case.data_sets[0]
    arrays = [_array(x) for x in inputs]
    names = [i.name for i in case.model.graph.input]
    complete = all(a is not None for a in arrays) and len(arrays) == len(names)
    feeds = {n: a for n, a in zip(names, arrays, strict=True) if a is not None} if complete else None
    return Case(case.name, case.model, feeds, tuple(_array(x) for x in outputs), case.rtol, case.atol)


def _array(value: Any) -> np.ndarray | None:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return value if isinstance(value, np.ndarray) else np.asarray(value) if np.isscalar(value) else None
