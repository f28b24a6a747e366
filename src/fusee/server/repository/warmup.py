"""Requests that a model answers before it is ready, as its configuration asks: memory is bound, caches are warm."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fusee.server.errors import ServingError, invalid
from fusee.server.plane import Servable
from fusee.server.proto.model_config_pb2 import DataType, ModelConfig, ModelWarmup
from fusee.server.repository.layout import member
from fusee.server.types import InferRequest, InferResponse, Tensor
from fusee.server.wire import BYTES, NUMPY, datatype_of_config, decode, element_count

WARMUP_FOLDER = "warmup"
_MOST_REQUESTS = 10_000
_MOST_INPUT_BYTES = 1 << 30


def warmup_requests(config: ModelConfig, version: str, root: Path, folder: Path) -> list[InferRequest]:
    """The requests of all model_warmup entries, in order. Reads files; raises ServingError."""
    requests: list[InferRequest] = []
    for index, sample in enumerate(config.model_warmup):
        where = f"{config.name}/config.pbtxt: model_warmup {sample.name or index}"
        count = max(1, sample.count)
        if len(requests) + count > _MOST_REQUESTS:
            raise invalid(f"{where}: count is {count}; all together at most {_MOST_REQUESTS} requests are taken")
        inputs = tuple(_inputs(sample, config.max_batch_size, root, folder, where))
        requests.extend(
            InferRequest(config.name, version, f"warmup {sample.name or index}", inputs) for _ in range(count)
        )
    return requests


async def warm_up(servable: Servable, requests: list[InferRequest]) -> None:
    """Put them to a model one after another. Raises ServingError for the first that fails."""
    for request in requests:
        await _answered(servable, request)


async def _answered(servable: Servable, request: InferRequest) -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(response: InferResponse | ServingError) -> None:
        if isinstance(response, ServingError):
            answer.set_exception(ServingError(response.reason, f"{request.id} failed: {response.message}"))
        elif response.final:
            answer.set_result(None)

    servable.submit(request, done)
    await answer


def _inputs(sample: ModelWarmup, max_batch_size: int, root: Path, folder: Path, where: str) -> Iterator[Tensor]:
    if sample.batch_size > max(max_batch_size, 1):
        raise invalid(f"{where}: batch_size is {sample.batch_size}, max_batch_size is {max_batch_size}")
    leading = (max(1, sample.batch_size),) if max_batch_size else ()
    for name in sorted(sample.inputs):
        given = sample.inputs[name]
        if any(d < 1 for d in given.dims):
            raise invalid(f"{where}: input {name!r} has dims {list(given.dims)}, expected sizes from 1")
        yield _tensor(name, given, (*leading, *given.dims), root, folder, f"{where}: input {name!r}")


def _tensor(
    name: str, given: ModelWarmup.Input, shape: tuple[int, ...], root: Path, folder: Path, where: str
) -> Tensor:
    datatype = datatype_of_config(DataType.Name(given.data_type))
    dtype = NUMPY[datatype]
    size_bytes = element_count(name, shape) * dtype.itemsize
    if size_bytes > _MOST_INPUT_BYTES:
        raise invalid(f"{where}: takes {size_bytes} bytes, more than {_MOST_INPUT_BYTES}")
    match given.WhichOneof("input_data_type"):
        case "input_data_file":
            content = member(root, folder / WARMUP_FOLDER, given.input_data_file).read_bytes()
            return decode(name, datatype, shape, content)
        case "random_data":
            return Tensor(name, datatype, shape, _random(dtype, shape))
        case "zero_data":
            return Tensor(name, datatype, shape, np.full(shape, b"" if datatype == BYTES else 0, dtype))
        case _:
            raise invalid(f"{where}: expected one of zero_data, random_data, input_data_file")


def _random(dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The same numbers at each start. Strings are ten digits, numbers in [0, 1) or of 0 to 9."""
    generator = np.random.default_rng(0)
    if dtype.hasobject:
        digits = generator.integers(0, 10**10, shape)
        return np.array([b"%010d" % n for n in digits.ravel()], dtype=object).reshape(shape)
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(bool)
    if np.issubdtype(dtype, np.integer):
        return generator.integers(0, 10, shape).astype(dtype)
    return generator.random(shape).astype(dtype)
