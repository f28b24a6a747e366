"""What a model's configuration says about scheduling, as small values. Errors name the field and what it may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fusee.base.errors import RequestError
from fusee.server.proto.model_config_pb2 import ModelConfig, ModelDynamicBatching, ModelInstanceGroup, ModelQueuePolicy

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
MAX_INSTANCES = 256


@dataclass(frozen=True)
class QueuePolicy:
    """How long and how many requests of one priority may wait. 0 is without limit.

    What waits longer is rejected, or with ``is_delayed`` served after the others of its priority. A request's own
    timeout counts when ``allow_override`` says so and it is the shorter one.
    """

    timeout_us: int = 0
    is_delayed: bool = False
    allow_override: bool = False
    max_queue_size: int = 0

    def timeout_of(self, asked_us: int) -> int:
        """The timeout of a request that asks for ``asked_us`` (0: for none), in microseconds; 0 is none."""
        if not self.allow_override or asked_us == 0:
            return self.timeout_us
        return min(asked_us, self.timeout_us) if self.timeout_us else asked_us


@dataclass(frozen=True)
class BatchOptions:
    """How requests are put together. Without ``is_batching`` every request runs by itself."""

    is_batching: bool = False
    max_batch_size: int = 1  # items, of one request or of a batch
    max_queue_delay_ns: int = 0  # how long a request may wait for others; 0: only until an instance is free
    preferred_batch_sizes: frozenset[int] = frozenset()
    preserve_ordering: bool = False
    priority_levels: int = 1
    default_priority: int = 1
    default_policy: QueuePolicy = QueuePolicy()
    policies: Mapping[int, QueuePolicy] = field(default_factory=dict[int, QueuePolicy])
    target_ns: int | None = None  # from the queue to the outputs, where that can be kept

    def priority_of(self, asked: int) -> int:
        """The level of a request that asks for priority ``asked``; 0, or a level that is not there, is the default."""
        return asked if 1 <= asked <= self.priority_levels else self.default_priority

    def policy_of(self, priority: int) -> QueuePolicy:
        return self.policies.get(priority, self.default_policy)


@dataclass(frozen=True)
class InstanceOptions:
    """How many sessions of an engine run side by side, and the threads of each where that is said."""

    count: int = 1
    threads: int | None = None


def batch_options(config: ModelConfig) -> BatchOptions:
    """What the configuration says about batching. Raises RequestError."""
    name, target_ns = config.name, _target_ns(config)
    if config.max_batch_size < 0:
        raise _wrong(name, "max_batch_size", config.max_batch_size, "0 for a model without a batch dimension, or more")
    largest = max(1, config.max_batch_size)
    if not config.HasField("dynamic_batching"):
        return BatchOptions(max_batch_size=largest, target_ns=target_ns)
    asked = config.dynamic_batching
    if config.max_batch_size == 0:
        raise _wrong(name, "max_batch_size", 0, "at least 1, since the configuration has dynamic_batching")
    for size in asked.preferred_batch_size:
        if not 1 <= size <= largest:
            raise _wrong(name, "preferred_batch_size", size, f"1 to max_batch_size, which is {largest}")
    levels, default = _priorities(name, asked)
    return BatchOptions(
        is_batching=largest > 1,
        max_batch_size=largest,
        max_queue_delay_ns=asked.max_queue_delay_microseconds * NS_PER_US,
        preferred_batch_sizes=frozenset(asked.preferred_batch_size),
        preserve_ordering=asked.preserve_ordering,
        priority_levels=levels,
        default_priority=default,
        default_policy=_policy(asked.default_queue_policy),
        policies=_policies(name, asked, levels),
        target_ns=target_ns,
    )


def _priorities(name: str, asked: ModelDynamicBatching) -> tuple[int, int]:
    """The number of levels, and the default one."""
    levels, default = asked.priority_levels, asked.default_priority_level
    if levels == 0:
        if default:
            raise _wrong(name, "default_priority_level", default, "left out, since priority_levels is 0")
        return 1, 1
    if not 1 <= default <= levels:
        raise _wrong(name, "default_priority_level", default, f"1 to priority_levels, which is {levels}")
    return levels, default


def _policies(name: str, asked: ModelDynamicBatching, levels: int) -> dict[int, QueuePolicy]:
    for level in asked.priority_queue_policy:
        if not 1 <= level <= levels:
            raise _wrong(name, "a key of priority_queue_policy", level, f"1 to priority_levels, which is {levels}")
    return {level: _policy(policy) for level, policy in asked.priority_queue_policy.items()}


def _policy(asked: ModelQueuePolicy) -> QueuePolicy:
    return QueuePolicy(
        timeout_us=asked.default_timeout_microseconds,
        is_delayed=asked.timeout_action == ModelQueuePolicy.DELAY,
        allow_override=asked.allow_timeout_override,
        max_queue_size=asked.max_queue_size,
    )


def instance_options(config: ModelConfig) -> InstanceOptions:
    """What the configuration says about instances. Raises RequestError."""
    count = 0
    for group in config.instance_group:
        if group.kind == ModelInstanceGroup.KIND_GPU:
            raise _wrong(
                config.name, "instance_group.kind", "KIND_GPU", "KIND_CPU or KIND_AUTO: this server has no GPU"
            )
        if not 0 <= group.count <= MAX_INSTANCES:
            raise _wrong(config.name, "instance_group.count", group.count, f"1 to {MAX_INSTANCES}")
        count += 0 if group.passive else max(1, group.count)
    count = max(1, count)
    if count > MAX_INSTANCES:
        raise _wrong(config.name, "the sum of instance_group.count", count, f"1 to {MAX_INSTANCES}")
    said = _number(config, "threads")
    if said is not None and (said != int(said) or said < 1):
        raise _wrong(config.name, "parameter 'threads'", f"{said:g}", "a whole number, 1 or above")
    return InstanceOptions(count, None if said is None else int(said))


def _target_ns(config: ModelConfig) -> int | None:
    target_ms = _number(config, "target_latency_ms")
    if target_ms is None:
        return None
    if not 0 < target_ms < 1e9:
        raise _wrong(config.name, "parameter 'target_latency_ms'", f"{target_ms:g}", "a number of milliseconds above 0")
    return int(target_ms * NS_PER_MS)


def _number(config: ModelConfig, parameter: str) -> float | None:
    """The number that a parameter of the configuration holds, if it is there."""
    if parameter not in config.parameters:
        return None
    text = config.parameters[parameter].string_value
    try:
        return float(text)
    except ValueError:
        raise _wrong(config.name, f"parameter {parameter!r}", repr(text), "a number") from None


def _wrong(model: str, what: str, found: object, expected: str) -> RequestError:
    return RequestError(f"the configuration of model {model!r}: {what} is {found}, expected {expected}")
