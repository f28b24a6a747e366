"""Shapes that a caller gives for inputs whose sizes are names: checked, and read as values for the names."""

from __future__ import annotations

from collections.abc import Mapping

from fusee.base.dims import symbols
from fusee.base.errors import RequestError
from fusee.base.types import TensorType


def given_sizes(inputs: Mapping[str, TensorType], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Values for the names in inputs' shapes. Raises RequestError for shapes that do not fit the inputs."""
    if unknown := sorted(shapes.keys() - inputs.keys()):
        raise RequestError(f"shapes are given for {', '.join(unknown)}; the inputs are {', '.join(inputs)}")
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        declared = inputs[name].shape
        wrong = [d for d, size in zip(declared, shape, strict=False) if isinstance(d, int) and d != size]
        if wrong or len(declared) != len(shape):
            given = "x".join(map(str, shape)) or "scalar"
            raise RequestError(f"the shape given for {name} is {given}; it is {inputs[name]}")
        for dim, size in zip(declared, shape, strict=True):
            found = {n: size for n in symbols(dim) if str(dim) == n}
            if clash := [n for n in found if sizes.setdefault(n, size) != size]:
                raise RequestError(f"the shapes given make {clash[0]} both {sizes[clash[0]]} and {size}")
    return sizes
