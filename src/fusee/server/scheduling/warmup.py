"""Before a model is ready: run the samples of its configuration, and measure how long batches take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic_ns

import numpy as np

from fusee.base.errors import RequestError
from fusee.base.types import Array
from fusee.server.errors import ServingError
from fusee.server.proto.model_config_pb2 import ModelWarmup
from fusee.server.scheduling.instance import Arrays, Instance
from fusee.server.scheduling.servable import EngineServable
from fusee.server.types import InferRequest, Tensor, TensorSpec
from fusee.server.wire import BYTES, NUMPY, decode

BUDGET_S = 2.0  # for measuring
REPEATS = 7  # of each batch size, where the budget allows
SEED = 0


def warm_up(servable: EngineServable, folder: Path | None = None, budget_s: float = BUDGET_S) -> None:
    """Run every instance's samples, then measure batch sizes. Blocks; before the first request only.

    ``folder`` is the model's, whose ``warmup`` folder holds the files that samples name. Raises RequestError when a
    sample is wrong or does not run. A model whose inputs have sizes that only requests tell is measured by them.
    """
    for sample in servable.config.model_warmup:
        arrays = _sample(servable, sample, folder)
        for instance in servable.instances:
            for _ in range(max(1, sample.count)):
                _run(servable, sample.name, instance, arrays)
    if all(-1 not in _item(servable, spec) for spec in servable.inputs):
        _measure(servable, budget_s)


def measured_sizes(servable: EngineServable) -> list[int]:
    """The batch sizes worth measuring: powers of two, the preferred ones, and the largest."""
    if not servable.options.is_batching:
        return [1]
    largest = servable.options.max_batch_size
    powers = {1 << i for i in range(largest.bit_length())}
    return sorted(powers | servable.options.preferred_batch_sizes | {largest})


def _measure(servable: EngineServable, budget_s: float) -> None:
    """Fill the latency table on the first instance, small batches first; the other instances run each size once."""
    end_ns = monotonic_ns() + int(budget_s * 1e9)
    for size in measured_sizes(servable):
        arrays = {spec.name: _zeros(spec, (size, *_item(servable, spec))) for spec in servable.inputs}
        if not servable.config.max_batch_size:
            arrays = {spec.name: _zeros(spec, spec.shape) for spec in servable.inputs}
        try:
            times_ns = _times_ns(servable.instances[0], arrays, end_ns)
            for other in servable.instances[1:]:
                other.run(arrays)
        except ServingError:
            return  # zeros are not to this model's liking: requests will tell how long it takes
        admitted = servable.contract.admit(_request(servable, arrays))
        servable.latencies.of(admitted.signature).observe(size, float(np.median(times_ns)))
        if monotonic_ns() >= end_ns:
            return


def _times_ns(instance: Instance, arrays: Arrays, end_ns: int) -> list[int]:
    """Of several runs; the one before them, which lays out memory, does not count."""
    instance.run(arrays)
    times_ns: list[int] = []
    while len(times_ns) < REPEATS:
        start_ns = monotonic_ns()
        instance.run(arrays)
        now_ns = monotonic_ns()
        times_ns.append(now_ns - start_ns)
        if now_ns >= end_ns:
            break
    return times_ns


def _item(servable: EngineServable, spec: TensorSpec) -> tuple[int, ...]:
    """An input's shape without the batch."""
    return spec.shape[1:] if servable.config.max_batch_size else spec.shape


def _zeros(spec: TensorSpec, shape: Sequence[int]) -> Array:
    return np.zeros(tuple(shape), NUMPY[spec.datatype])


def _request(servable: EngineServable, arrays: Mapping[str, Array]) -> InferRequest:
    types = {spec.name: spec.datatype for spec in servable.inputs}
    tensors = tuple(Tensor(name, types.get(name, BYTES), array.shape, array) for name, array in arrays.items())
    return InferRequest(servable.name, servable.version, "", tensors)


def _sample(servable: EngineServable, sample: ModelWarmup, folder: Path | None) -> Arrays:
    """The arrays of a warm-up sample, checked as a request's are."""
    arrays: Arrays = {}
    for spec in servable.inputs:
        if spec.name not in sample.inputs:
            raise _wrong(servable, sample.name, f"input {spec.name!r} is missing")
        said = sample.inputs[spec.name]
        batch = (max(1, sample.batch_size),) if servable.config.max_batch_size else ()
        shape = (*batch, *said.dims)
        arrays[spec.name] = _values(servable, sample.name, spec, said, shape, folder)
    try:
        servable.contract.admit(_request(servable, arrays))
    except ServingError as err:
        raise _wrong(servable, sample.name, str(err)) from err
    return arrays


def _values(
    servable: EngineServable,
    name: str,
    spec: TensorSpec,
    said: ModelWarmup.Input,
    shape: tuple[int, ...],
    folder: Path | None,
) -> Array:
    kind = said.WhichOneof("input_data_type")
    if kind == "input_data_file":
        if folder is None:
            raise _wrong(servable, name, f"input {spec.name!r} names a file, but the model has no folder")
        return _from_file(servable, name, spec, shape, folder / "warmup" / said.input_data_file)
    if kind == "random_data":
        return _random(spec, shape)
    return _zeros(spec, shape)


def _random(spec: TensorSpec, shape: tuple[int, ...]) -> Array:
    """Floats from 0 to 1; integers and truth values of 0 and 1, which are an index into anything that has two."""
    generator, dtype = np.random.default_rng(SEED), NUMPY[spec.datatype]
    if dtype.kind in "biu":
        return generator.integers(0, 2, shape).astype(dtype)
    return generator.random(shape, np.float32).astype(dtype)


def _from_file(servable: EngineServable, name: str, spec: TensorSpec, shape: tuple[int, ...], path: Path) -> Array:
    inside = path.parent.resolve()
    if not path.resolve().is_relative_to(inside):
        raise _wrong(servable, name, f"input {spec.name!r} names a file outside the model's warmup folder")
    try:
        return decode(spec.name, spec.datatype, shape, path.read_bytes()).values()
    except (OSError, ServingError) as err:
        raise _wrong(servable, name, f"input {spec.name!r}: {path.name} cannot be used: {err}") from err


def _run(servable: EngineServable, name: str, instance: Instance, arrays: Arrays) -> None:
    try:
        instance.run(arrays)
    except ServingError as err:
        raise _wrong(servable, name, f"it does not run: {err}") from err


def _wrong(servable: EngineServable, sample: str, what: str) -> RequestError:
    return RequestError(f"model {servable.name!r}, warm-up sample {sample!r}: {what}")
