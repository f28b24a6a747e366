"""A configuration completed with what the engine knows, and checked against it: what is said twice must agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from fusee.base.dims import Dim, symbols
from fusee.base.types import TensorType
from fusee.engine.plan import PlanInput, PlanOutput
from fusee.server.errors import ServingError, invalid
from fusee.server.proto.model_config_pb2 import (
    DataType,
    ModelConfig,
    ModelInput,
    ModelInstanceGroup,
    ModelOutput,
)
from fusee.server.repository.offered import ENGINE, ENSEMBLE, PIPELINE_INSTANCES, PYTHON
from fusee.server.wire import config_type_of, datatype_of


def complete_engine(
    config: ModelConfig,
    inputs: Sequence[PlanInput],
    outputs: Sequence[PlanOutput],
    max_batch_size: int,
    where: str,
) -> None:
    """Fill in what ``config`` leaves open for an engine with those inputs and outputs.

    A configuration without max_batch_size gets the given one if the engine can batch, unless it spells out dimensions
    with the first one in them. Raises ServingError when it says something else than the engine.
    """
    _check_batch_size(config, inputs, outputs, where)
    if not config.max_batch_size and _may_batch(config, inputs, outputs):
        config.max_batch_size = max_batch_size
        if config.WhichOneof("scheduling_choice") is None:
            config.dynamic_batching.SetInParent()
    is_batched = config.max_batch_size > 0
    _complete_tensors(config.input, "input", inputs, is_batched, where)
    _complete_tensors(config.output, "output", outputs, is_batched, where)
    config.platform = config.backend = ENGINE


def complete_pipeline(config: ModelConfig) -> None:
    """What a pipeline's configuration leaves open: several runs at a time, each of which mostly waits for a model."""
    config.backend = PYTHON
    if not config.instance_group:
        config.instance_group.add(count=PIPELINE_INSTANCES)


def complete_defaults(config: ModelConfig, name: str, file_name: str, where: str) -> None:
    """The defaults that do not depend on an engine, as Triton shows them. Raises ServingError for another's name."""
    if config.name not in ("", name):
        raise invalid(f"{where}: name is {config.name!r}, but the model lies in {name!r}; both must be the same")
    config.name = name
    policy = config.version_policy
    if policy.WhichOneof("policy_choice") in (None, "latest"):
        policy.latest.num_versions = policy.latest.num_versions or 1
    if config.platform == ENSEMBLE or config.HasField("ensemble_scheduling"):
        config.platform, config.backend = ENSEMBLE, ""
        config.model_transaction_policy.SetInParent()
        return
    config.default_model_filename = config.default_model_filename or file_name
    _complete_instances(config)
    config.optimization.input_pinned_memory.enable = True
    config.optimization.output_pinned_memory.enable = True
    if config.HasField("dynamic_batching") and not config.dynamic_batching.preferred_batch_size:
        config.dynamic_batching.preferred_batch_size.extend([config.max_batch_size] * (config.max_batch_size > 0))


def _complete_instances(config: ModelConfig) -> None:
    if not config.instance_group:
        config.instance_group.add(name=config.name)
    for index, group in enumerate(config.instance_group):
        group.name = group.name or f"{config.name}_{index}"
        group.kind = ModelInstanceGroup.KIND_CPU
        group.count = group.count or 1


def _check_batch_size(
    config: ModelConfig, inputs: Sequence[PlanInput], outputs: Sequence[PlanOutput], where: str
) -> None:
    if config.max_batch_size and (obstacle := batch_obstacle(inputs, outputs)):
        raise invalid(f"{where}: max_batch_size is {config.max_batch_size}, but the engine cannot batch: {obstacle}")


def _may_batch(config: ModelConfig, inputs: Sequence[PlanInput], outputs: Sequence[PlanOutput]) -> bool:
    ranks = {t.name: t.type.rank for t in (*inputs, *outputs)}
    spelt_out = any(t.dims and len(t.dims) == ranks.get(t.name) for t in (*config.input, *config.output))
    return not spelt_out and not batch_obstacle(inputs, outputs)


def batch_obstacle(inputs: Sequence[PlanInput], outputs: Sequence[PlanOutput]) -> str:
    """Why requests to an engine cannot be joined along the first dimension; '' when they can.

    They can when the first dimension of all inputs and outputs is the same name, which stands nowhere else.
    """
    first: Dim | None = None
    for tensor in (*inputs, *outputs):
        if not tensor.type.rank:
            return f"{tensor.name} is {tensor.type}, which has no dimension"
        leading = tensor.type.shape[0]
        if not _is_free(leading):
            return f"{tensor.name} is {tensor.type}, whose first dimension is not free"
        first = leading if first is None else first
        if leading != first:
            return f"the first dimension of {tensor.name} is {leading}, that of others {first}"
    if first is None:
        return "it has neither inputs nor outputs"
    name = str(first)
    for tensor in (*inputs, *outputs):
        if name in symbols(tensor.type.shape[1:]):
            return f"{tensor.name} is {tensor.type}, which has {name} beyond its first dimension"
    used = [i.name for i in inputs if name in i.elements]
    return f"{name} is an element of {used[0]}" if used else ""


def _is_free(dim: Dim) -> bool:
    """Whether it is a lone name that callers choose; names with "__" stand for what a run finds out."""
    return not isinstance(dim, int) and symbols(dim) == frozenset((str(dim),)) and "__" not in str(dim)


def _complete_tensors(
    configured: Sequence[ModelInput] | Sequence[ModelOutput],
    kind: str,
    tensors: Sequence[PlanInput] | Sequence[PlanOutput],
    is_batched: bool,
    where: str,
) -> None:
    known = {t.name: t.type for t in tensors}
    given = {t.name for t in configured}
    if unknown := sorted(given - known.keys()):
        listed = ", ".join(map(repr, known))
        raise invalid(f"{where}: {kind} {unknown[0]!r} is configured; the engine's {kind}s are {listed}")
    for tensor in configured:
        _complete_tensor(tensor, known[tensor.name], is_batched, f"{where}: {kind} {tensor.name!r}")
    for name in [n for n in known if n not in given]:
        added = configured.add(name=name)  # pyright: ignore[reportAttributeAccessIssue]
        _complete_tensor(added, known[name], is_batched, f"{where}: {kind} {name!r}")


def _complete_tensor(tensor: ModelInput | ModelOutput, known: TensorType, is_batched: bool, where: str) -> None:
    try:
        expected = cast("DataType", DataType.Value(config_type_of(datatype_of(known.dtype))))
    except ServingError as err:
        raise ServingError(err.reason, f"{where}: {err.message}") from err
    if tensor.data_type not in (DataType.TYPE_INVALID, expected):
        raise invalid(
            f"{where} is {DataType.Name(tensor.data_type)} in the configuration and {DataType.Name(expected)} in the "
            "engine"
        )
    if isinstance(tensor, ModelInput) and tensor.optional:
        raise invalid(f"{where} is optional in the configuration, but the engine needs all its inputs")
    tensor.data_type = expected
    dims = known.shape[1:] if is_batched else known.shape
    if tensor.dims:
        _check_dims(list(tensor.dims), dims, known, is_batched, where)
    else:
        tensor.dims.extend(d if isinstance(d, int) else -1 for d in dims)


def _check_dims(given: list[int], dims: Sequence[Dim], known: TensorType, is_batched: bool, where: str) -> None:
    """A size that the engine leaves open may be fixed; a size that it fixes must be the same."""
    if len(given) == len(dims) and all(not isinstance(d, int) or d == g for g, d in zip(given, dims, strict=True)):
        return
    part = " after the first dimension, which max_batch_size stands for" if is_batched else ""
    raise invalid(f"{where} has dims {given} in the configuration, but is {known} in the engine; dims are given{part}")
