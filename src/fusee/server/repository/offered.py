"""What a configuration may ask for here. Whatever is not offered is refused with its reason, never passed over."""

from __future__ import annotations

from collections.abc import Iterator

from fusee.server.errors import Reason, ServingError, invalid
from fusee.server.proto.model_config_pb2 import (
    ModelConfig,
    ModelInput,
    ModelInstanceGroup,
    ModelOptimizationPolicy,
    ModelOutput,
)

ENGINE, ENSEMBLE, PYTHON = "fusee", "ensemble", "python"
BACKENDS = (ENGINE, ENSEMBLE, PYTHON)
PIPELINE_INSTANCES = 8  # of a Python pipeline whose configuration does not say
_RUN_AS_ENGINES = ("onnxruntime", "onnxruntime_onnx", "onnx")  # what an ONNX model's configuration says for others
_MOST_BATCHED = 1 << 20
_MOST_INSTANCES = 1024
_PARAMETERS = {
    "TRITON_BATCH_STRATEGY_PATH": "custom batching is a library of machine code that is not loaded here",
    "EXECUTION_ENV_PATH": "Python models run in the server's own environment",
}


def backend_of(config: ModelConfig, where: str) -> str:
    """Which backend serves it: one of BACKENDS, '' when the files decide. Raises ServingError for another server's."""
    for field, value in (("backend", config.backend), ("platform", config.platform)):
        if value in _RUN_AS_ENGINES:
            return ENGINE
        if value in BACKENDS:
            return value
        if value:
            raise _refused(where, f'{field}: "{value}"', f"the backends here are {', '.join(BACKENDS)}; export to ONNX")
    return ENSEMBLE if config.HasField("ensemble_scheduling") else ""


def check_offered(config: ModelConfig, where: str) -> None:
    """Raises ServingError UNSUPPORTED for the first thing that is not offered, INVALID for what is wrong in itself."""
    for option, reason in _not_offered(config):
        raise _refused(where, option, reason)
    _check_numbers(config, where)


def _refused(where: str, option: str, reason: str) -> ServingError:
    return ServingError(Reason.UNSUPPORTED, f"{where}: {option} is not offered: {reason}")


def _not_offered(config: ModelConfig) -> Iterator[tuple[str, str]]:
    """Each option that is set and not offered, with the reason."""
    if config.HasField("sequence_batching"):
        yield "sequence_batching", "requests are independent of each other here; keep the state in a Python pipeline"
    if config.batch_input or config.batch_output:
        yield "batch_input or batch_output", "batches are made of items of one shape"
    if config.model_operations.op_library_filename:
        yield "model_operations", "engines hold all their operations; no library is loaded into the server"
    if config.model_repository_agents.agents:
        yield "model_repository_agents", "no library is loaded into the server"
    if config.response_cache.enable:
        yield "response_cache", "every request is computed"
    if config.model_metrics.metric_control:
        yield "model_metrics", "the buckets of histograms are the same for all models"
    if config.cc_model_filenames:
        yield "cc_model_filenames", "an engine file holds the code of all its targets"
    if config.runtime:
        yield "runtime", "there is one runtime"
    yield from _parameters(config)
    yield from _optimization(config.optimization)
    for group in config.instance_group:
        yield from _instance_group(group)
    for tensor in (*config.input, *config.output):
        yield from _tensor(tensor)
    for step in config.ensemble_scheduling.step:
        if step.model_namespace:
            yield f"step {step.model_name}: model_namespace", "a model's name is unique on the server"


def _parameters(config: ModelConfig) -> Iterator[tuple[str, str]]:
    for name, reason in _PARAMETERS.items():
        if name in config.parameters:
            yield f"parameter {name}", reason


def _optimization(policy: ModelOptimizationPolicy) -> Iterator[tuple[str, str]]:
    if policy.HasField("graph") or policy.HasField("execution_accelerators"):
        yield "optimization.graph or .execution_accelerators", "the build decides how a graph is optimised"
    if policy.HasField("cuda"):
        yield "optimization.cuda", "this server's engines run on the CPU"
    if policy.priority not in (ModelOptimizationPolicy.PRIORITY_DEFAULT,):
        yield "optimization.priority", "all models have the same; requests have priorities (dynamic_batching)"
    if policy.gather_kernel_buffer_threshold or policy.eager_batching:
        yield "optimization.gather_kernel_buffer_threshold or .eager_batching", "batches are assembled in one way"


def _instance_group(group: ModelInstanceGroup) -> Iterator[tuple[str, str]]:
    if group.kind not in (ModelInstanceGroup.KIND_AUTO, ModelInstanceGroup.KIND_CPU):
        kind = ModelInstanceGroup.Kind.Name(group.kind)
        yield f"instance_group of {kind}", "the engine is made for the CPU; use KIND_CPU or KIND_AUTO"
    if group.gpus or group.secondary_devices:
        yield "instance_group.gpus or .secondary_devices", "the engine is made for the CPU"
    if group.rate_limiter.resources or group.rate_limiter.priority:
        yield "instance_group.rate_limiter", "instances run as soon as they are free"
    if group.profile or group.passive or group.host_policy:
        yield "instance_group.profile, .passive or .host_policy", "all instances of a model are alike"


def _tensor(tensor: ModelInput | ModelOutput) -> Iterator[tuple[str, str]]:
    if tensor.HasField("reshape"):
        yield f"{tensor.name}: reshape", "a tensor has the shape that its engine takes"
    if tensor.is_shape_tensor or tensor.is_non_linear_format_io:
        yield f"{tensor.name}: is_shape_tensor or is_non_linear_format_io", "they describe TensorRT engines"
    if isinstance(tensor, ModelInput) and tensor.allow_ragged_batch:
        yield f"{tensor.name}: allow_ragged_batch", "batches are made of items of one shape"


def _check_numbers(config: ModelConfig, where: str) -> None:
    if not 0 <= config.max_batch_size <= _MOST_BATCHED:
        raise invalid(f"{where}: max_batch_size is {config.max_batch_size}, expected 0 to {_MOST_BATCHED}")
    for group in config.instance_group:
        if not 0 <= group.count <= _MOST_INSTANCES:
            raise invalid(f"{where}: instance_group count is {group.count}, expected 1 to {_MOST_INSTANCES}")
    for tensor in (*config.input, *config.output):
        if not tensor.name:
            raise invalid(f"{where}: an input or output has no name")
        if wrong := [d for d in tensor.dims if d < 1 and d != -1]:
            raise invalid(f"{where}: {tensor.name}: a dimension is {wrong[0]}, expected -1 or 1 and above")
    for kind, tensors in (("input", config.input), ("output", config.output)):
        names = [t.name for t in tensors]
        if repeated := sorted({n for n in names if names.count(n) > 1}):
            raise invalid(f"{where}: {kind} {repeated[0]!r} is there twice")


def check_batching(config: ModelConfig, where: str) -> None:
    """Numbers of dynamic_batching against each other, once max_batch_size is known. Raises ServingError."""
    if not config.HasField("dynamic_batching"):
        return
    batching, max_batch_size = config.dynamic_batching, config.max_batch_size
    for size in batching.preferred_batch_size:
        if not 1 <= size <= max(max_batch_size, 1):
            raise invalid(f"{where}: preferred_batch_size {size} is not within 1 and max_batch_size {max_batch_size}")
    levels = batching.priority_levels
    if not levels and (batching.default_priority_level or batching.priority_queue_policy):
        raise invalid(f"{where}: there are priorities, but priority_levels is 0")
    if levels and not 1 <= batching.default_priority_level <= levels:
        raise invalid(f"{where}: default_priority_level is {batching.default_priority_level}, expected 1 to {levels}")
    if wrong := sorted(p for p in batching.priority_queue_policy if not 1 <= p <= levels):
        raise invalid(f"{where}: priority_queue_policy for {wrong[0]}; the priorities are 1 to {levels}")
