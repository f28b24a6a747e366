"""What is known of the elements of small integer tensors: shape arithmetic done on dims instead of numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fusee.base.dims import Dim, dim_max, dim_min, equal, floordiv, is_nonnegative, less, mod, select
from fusee.base.types import Array, DType
from fusee.ir.graph import Const, Op, Value
from fusee.ops.binary import (
    Add,
    And,
    Div,
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Max,
    Min,
    Mod,
    Mul,
    Or,
    Sub,
    Where,
)
from fusee.ops.control import After
from fusee.ops.elementwise import Cast, Neg, Not
from fusee.ops.index import Gather
from fusee.ops.reduce import Reduce
from fusee.ops.shape import Concat, DimsTensor, Expand, Full, Reshape, Slice, Transpose

MAX_ELEMENTS = 64  # shape arithmetic is about shapes; larger tensors are data


def _elementwise(function: Callable[..., Dim]) -> Callable[..., Array]:
    def apply(_op: Op, *operands: Array) -> Array:
        shape = np.broadcast_shapes(*[o.shape for o in operands])
        columns = [np.broadcast_to(o, shape).ravel() for o in operands]
        out = np.empty(len(columns[0]), object)
        out[:] = [function(*row) for row in zip(*columns, strict=True)]
        return out.reshape(shape)

    return apply


def _quotient(a: Dim, b: Dim) -> Dim:
    """Division that rounds towards 0, by a positive number."""
    if is_nonnegative(a):
        return floordiv(a, b)
    return select(less(a, 0), 0 - floordiv(0 - a, b), floordiv(a, b))


def _negated(a: Dim) -> Dim:
    return 1 - a


_AS_BOOL = _elementwise(lambda a: _negated(equal(a, 0)))


def _cast(op: Op, x: Array) -> Array | None:
    if not isinstance(op, Cast) or not (op.to.is_integer or op.to is DType.BOOL):
        return None
    return _AS_BOOL(op, x) if op.to is DType.BOOL else x


def _reduce(op: Op, x: Array) -> Array | None:
    if not isinstance(op, Reduce) or op.kind not in ("sum", "prod"):
        return None
    fold = np.sum if op.kind == "sum" else np.prod
    return np.asarray(fold(x, axis=op.axes, keepdims=op.keepdims), object)


def _gather(op: Op, x: Array, indices: Array) -> Array | None:
    if not isinstance(op, Gather) or not all(isinstance(i, int) for i in indices.ravel()):
        return None
    return np.asarray(np.take(x, indices.astype(np.int64), axis=op.axis), object)


def _reference(op: Op, *operands: Array) -> Array | None:
    if op.symbols():
        return None
    return np.asarray(op.compute(*operands)[0], object)


# Op -> what it does to arrays of dims; None where it is not exact on them.
RULES: dict[type[Op], Callable[..., Array | None]] = {
    Add: _elementwise(lambda a, b: a + b),
    Sub: _elementwise(lambda a, b: a - b),
    Mul: _elementwise(lambda a, b: a * b),
    Div: _elementwise(_quotient),
    Mod: _elementwise(mod),
    Min: _elementwise(dim_min),
    Max: _elementwise(dim_max),
    Neg: _elementwise(lambda a: 0 - a),
    Equal: _elementwise(equal),
    Less: _elementwise(less),
    Greater: _elementwise(lambda a, b: less(b, a)),
    LessOrEqual: _elementwise(lambda a, b: _negated(less(b, a))),
    GreaterOrEqual: _elementwise(lambda a, b: _negated(less(a, b))),
    Not: _elementwise(_negated),
    And: _elementwise(lambda a, b: a * b),
    Or: _elementwise(dim_max),
    Where: _elementwise(select),
    Cast: _cast,
    Reduce: _reduce,
    Gather: _gather,
    Slice: _reference,
    Concat: _reference,
    Reshape: _reference,
    Transpose: _reference,
    Expand: _reference,
    Full: _reference,
}


@dataclass
class SymbolicContents:
    """The elements of values as dims, found by need and remembered."""

    found: dict[Value, Array | None] = field(default_factory=dict[Value, "Array | None"])

    def of(self, value: Value) -> tuple[Dim, ...] | None:
        """The elements in row-major order; None when they are not known before the run."""
        array = self.array(value)
        return None if array is None else tuple(array.ravel().tolist())

    def set(self, value: Value, elements: tuple[Dim, ...]) -> None:
        array = np.empty(len(elements), object)
        array[:] = elements
        self.found[value] = array.reshape(value.type.static_shape())

    def share(self, outer: Value, inner: Value) -> None:
        """Say that two values have the same contents, known or not."""
        self.found[inner] = self.array(outer)

    def array(self, value: Value) -> Array | None:
        if value not in self.found:
            self.found[value] = self._compute(value)
        return self.found[value]

    def _compute(self, value: Value) -> Array | None:
        kind = value.type.dtype
        if not (kind.is_integer or kind is DType.BOOL) or not value.type.is_static or _size(value) > MAX_ELEMENTS:
            return None
        op: Any = value.op
        if isinstance(op, Const):
            return np.asarray(op.value.astype(np.int64), object)
        if isinstance(op, DimsTensor):
            elements = np.empty(len(op.elements), object)
            elements[:] = op.elements
            return elements
        if isinstance(op, After):
            return self.array(value.operands[0])
        rule = RULES.get(type(op))
        if rule is None:
            return None
        operands = [self.array(v) for v in value.operands]
        known = [o for o in operands if o is not None]
        return rule(op, *known) if len(known) == len(operands) else None


def _size(value: Value) -> int:
    return int(np.prod(value.type.static_shape(), dtype=np.int64))
