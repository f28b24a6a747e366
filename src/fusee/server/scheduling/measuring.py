"""Before a model is ready: measure how long its batches take, so that the first request is scheduled well."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic_ns

import numpy as np

from fusee.server.errors import ServingError
from fusee.server.scheduling.contract import Admitted, Contract
from fusee.server.scheduling.instance import Arrays, Instance
from fusee.server.scheduling.latency import LatencyTables
from fusee.server.scheduling.options import BatchOptions
from fusee.server.types import InferRequest, Tensor, TensorSpec
from fusee.server.wire import NUMPY

BUDGET_S = 2.0
REPEATS = 20  # of each batch size, where the budget allows
SHORT_NS = 150_000
"""A batch that runs in less on one thread is to have one thread: more of them wait for each other about as long."""
TRIAL_NS = 100_000_000


def measure(
    contract: Contract, options: BatchOptions, instances: Sequence[Instance], tables: LatencyTables, budget_s: float
) -> None:
    """Run zeros of several batch sizes on every instance, and note how long they take.

    A model is left to be measured by its requests when only they tell its inputs' sizes, or when it refuses zeros.
    """
    end_ns = monotonic_ns() + int(budget_s * 1e9)
    for size in measured_sizes(options):
        admitted = zeros(contract, size)
        if admitted is None:
            return
        try:
            taken_ns = _least_ns(instances, admitted.arrays, end_ns)
        except ServingError:
            return
        tables.of(admitted.signature).observe(size, taken_ns)
        if monotonic_ns() >= end_ns:
            return


def is_enough(contract: Contract, options: BatchOptions, instance: Instance) -> bool:
    """Whether the largest batch is over on that instance before more threads would have come to help."""
    admitted = zeros(contract, max(measured_sizes(options)))
    if admitted is None:
        return False
    try:
        return _least_ns([instance], admitted.arrays, monotonic_ns() + TRIAL_NS) <= SHORT_NS
    except ServingError:
        return False


def measured_sizes(options: BatchOptions) -> list[int]:
    """The batch sizes worth measuring: powers of two, the preferred ones, and the largest."""
    if not options.is_batching:
        return [1]
    powers = {1 << i for i in range(options.max_batch_size.bit_length())}
    return sorted(powers | options.preferred_batch_sizes | {options.max_batch_size})


def _least_ns(instances: Sequence[Instance], arrays: Arrays, end_ns: int) -> int:
    """The first instance's quickest run: whatever else the machine does only adds to it.

    The run before it, which lays out memory and is done on every instance, does not count.
    """
    for instance in instances:
        instance.run(arrays)
    least_ns = 0
    for _ in range(REPEATS):
        start_ns = monotonic_ns()
        instances[0].run(arrays)
        now_ns = monotonic_ns()
        least_ns = min(least_ns or now_ns, now_ns - start_ns)
        if now_ns >= end_ns:
            break
    return least_ns


def zeros(contract: Contract, size: int) -> Admitted | None:
    """A request of that many items; None when the model leaves more than the batch to its requests."""
    if any(spec.shape.count(-1) != int(contract.is_batched) for spec in contract.inputs):
        return None
    tensors = [_zeros(spec, size) for spec in contract.inputs]
    return contract.admit(InferRequest(contract.name, "", "", tuple(tensors)))


def _zeros(spec: TensorSpec, size: int) -> Tensor:
    """An input of that many items; without a batch dimension its shape has no -1."""
    shape = tuple(size if d == -1 else d for d in spec.shape)
    return Tensor(spec.name, spec.datatype, shape, np.zeros(shape, NUMPY[spec.datatype]))
