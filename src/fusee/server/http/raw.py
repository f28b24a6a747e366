"""Requests whose body is the data of the model's one input and nothing else: ``curl --data-binary @photo.jpg``.

Name, type and shape come from the model's configuration: a batch of one, and at most one dimension that the number of
bytes decides. A BYTES input takes the whole body as its single element.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from fusee.server.errors import invalid
from fusee.server.types import InferRequest, Json, Tensor
from fusee.server.wire import BYTES, NUMPY, Buffer, datatype_of_config, decode


def raw_request(config: Mapping[str, Json], version: str, traceparent: str, content: Buffer) -> InferRequest:
    """The request that a body alone makes. ``config`` is the answer to model_config. Raises ServingError."""
    model, inputs = config["name"], config["input"]
    if len(inputs) != 1:
        raise invalid(
            f"model {model!r} has {len(inputs)} inputs, but a request without a JSON header fits those with one"
        )
    name, datatype = inputs[0]["name"], datatype_of_config(inputs[0]["data_type"])
    batch = (1,) if config.get("max_batch_size", 0) > 0 else ()
    dims = (*batch, *(int(d) for d in inputs[0]["dims"]))
    tensor = _tensor(name, datatype, dims, content)
    return InferRequest(model, version, "", (tensor,), traceparent=traceparent)


def _tensor(name: str, datatype: str, dims: tuple[int, ...], content: Buffer) -> Tensor:
    if datatype == BYTES:
        shape = _sized(name, dims, 1)
        return Tensor(name, datatype, shape, np.array([bytes(content)], dtype=object).reshape(shape))
    return decode(name, datatype, _sized(name, dims, len(content) // NUMPY[datatype].itemsize), content)


def _sized(name: str, dims: Sequence[int], count: int) -> tuple[int, ...]:
    """The dimensions, with the one that is -1 given what the number of elements leaves. Raises ServingError."""
    if sum(d < 0 for d in dims) > 1:
        raise invalid(
            f"input {name!r}: {list(dims)} has several sizes to be found; send a JSON header that says the shape"
        )
    rest = prod(d for d in dims if d >= 0)
    found = count // rest if rest else 0
    shape = tuple(found if d < 0 else d for d in dims)
    if prod(shape) != count:
        raise invalid(f"input {name!r}: the body holds {count} elements, which do not fill shape {list(dims)}")
    return shape
