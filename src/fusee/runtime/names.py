"""Give values to the names of sizes, by matching declared shapes with those of actual tensors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fusee.base.dims import Dim, Expr, evaluate, symbols
from fusee.base.errors import RequestError
from fusee.base.types import TensorType

Names = dict[str, int]


@dataclass(frozen=True)
class Actual:
    """A tensor that is there: what it is called in messages, its declared type and its shape."""

    label: str
    type: TensorType
    shape: tuple[int, ...]

    def refuse(self, reason: str) -> RequestError:
        shape = ",".join(map(str, self.shape))
        return RequestError(f"{self.label} is {self.type.dtype}[{shape}], expected {self.type}: {reason}")


def solve_names(tensors: Iterable[Actual], names: Names) -> None:
    """Add to ``names`` what the shapes tell; names already there must agree.

    A size such as ``2*N`` tells N when that is the only unknown in it. Raises RequestError that names the tensor and
    the dimension.
    """
    origins: dict[str, str] = {}
    compound: list[tuple[Actual, int, Dim]] = []
    for tensor in tensors:
        if len(tensor.shape) != tensor.type.rank:
            raise tensor.refuse(f"it has {len(tensor.shape)} dimensions instead of {tensor.type.rank}")
        for i, (dim, size) in enumerate(zip(tensor.type.shape, tensor.shape, strict=True)):
            name = plain_name(dim)
            if name is None:
                compound.append((tensor, i, dim))
            elif names.setdefault(name, size) != size:
                first = origins.get(name, "the sizes given before")
                raise tensor.refuse(f"dimension {i} ({name}) is {size}, but {name} is {names[name]} by {first}")
            else:
                origins.setdefault(name, tensor.label)
    for tensor, i, dim in compound:
        _match_compound(tensor, i, dim, names)


def plain_name(dim: Dim) -> str | None:
    """The name that a size is, when it is nothing but a name."""
    text = str(dim)
    return text if isinstance(dim, Expr) and text.isidentifier() else None


def _match_compound(tensor: Actual, i: int, dim: Dim, names: Names) -> None:
    size = tensor.shape[i]
    unknown = sorted(symbols(dim) - names.keys())
    if len(unknown) == 1:
        names[unknown[0]] = _solved(dim, unknown[0], size, names)
    if len(unknown) > 1:
        raise tensor.refuse(f"dimension {i} is {size}, which does not tell {' and '.join(unknown)} apart")
    expected = evaluate(dim, names)
    if expected != size:
        given = "" if isinstance(dim, int) else f" ({dim} with {_values(dim, names)})"
        raise tensor.refuse(f"dimension {i} is {size}, expected {expected}{given}")


def _solved(dim: Dim, name: str, size: int, names: Names) -> int:
    """The value of the one unknown, taking the size to be linear in it; the caller checks."""
    base = evaluate(dim, {**names, name: 0})
    slope = evaluate(dim, {**names, name: 1}) - base
    return (size - base) // slope if slope else 0


def _values(dim: Dim, names: Names) -> str:
    return ", ".join(f"{n} = {names[n]}" for n in sorted(symbols(dim)))


def check_equal(pairs: Iterable[tuple[Dim, Dim]], names: Names) -> None:
    """The sizes that the model takes to be equal are. Raises RequestError."""
    for a, b in pairs:
        x, y = evaluate(a, names), evaluate(b, names)
        if x != y:
            values = ", ".join(f"{n} = {names[n]}" for n in sorted(symbols((a, b))))
            raise RequestError(f"the model needs {a} and {b} to be equal, but they are {x} and {y} (with {values})")
