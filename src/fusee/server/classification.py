"""The classification extension: an output's best classes as text instead of all its values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fusee.base.types import Array
from fusee.server.errors import Reason, ServingError, invalid
from fusee.server.types import Tensor

RANKED = ("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP32", "FP64")
"""Datatypes whose values are ranked: those of Triton."""


def classify(tensor: Tensor, k: int, labels: Sequence[str], *, is_batched: bool) -> Tensor:
    """The ``k`` largest values of each item as BYTES "value:index", or "value:index:label" where the class has a label.

    Each item is flattened; of equal values the first comes first, and NaN comes last. The result has the shape
    [items, k] with batching, else [k], where k is at most the number of classes. Values are written as C's "%f" and
    "%d" write them. Raises ServingError for k below 1 and for datatypes that have no order or no such text.
    """
    if k < 1:
        raise invalid(f"output {tensor.name!r}: {k} classes are asked for; expected 1 or more")
    if tensor.datatype not in RANKED:
        raise ServingError(
            Reason.INVALID,
            f"class result not available for output {tensor.name!r} due to unsupported type {tensor.datatype!r}; "
            f"expected one of {', '.join(RANKED)}",
        )
    values = tensor.values()
    items = values.reshape(len(values), -1) if is_batched and len(values) else values.reshape(1, -1)
    count = min(k, items.shape[1])
    texts = np.empty((len(items), count), dtype=object)
    for row, item in enumerate(items):
        for column, index in enumerate(_largest(item, count)):
            texts[row, column] = _text(item[index], int(index), labels)
    shape = (len(values), count) if is_batched else (count,)
    return Tensor(tensor.name, "BYTES", shape, texts.reshape(shape))


def _largest(item: Array, count: int) -> Array:
    """Indices of the largest values, falling. ~x turns the order of whole numbers round, where -x may overflow."""
    key = -item if item.dtype.kind == "f" else ~item
    return np.argsort(key, kind="stable")[:count]


def _text(value: Any, index: int, labels: Sequence[str]) -> bytes:
    number = f"{value:f}" if value.dtype.kind == "f" else f"{value:d}"
    label = f":{labels[index]}" if index < len(labels) and labels[index] else ""
    return f"{number}:{index}{label}".encode()
