"""Scheduling options are read from configurations as the protocol means them; what cannot be is refused by name."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from fusee.base.errors import RequestError
from fusee.server.proto.model_config_pb2 import ModelConfig
from fusee.server.scheduling.options import BatchOptions, InstanceOptions, QueuePolicy, batch_options, instance_options


def config_of(text: str) -> ModelConfig:
    return text_format.Parse('name: "m" ' + text, ModelConfig())


def test_all_options_are_read():
    options = batch_options(
        config_of(
            """
            max_batch_size: 8
            dynamic_batching {
              preferred_batch_size: [4, 8] max_queue_delay_microseconds: 100 preserve_ordering: true
              priority_levels: 3 default_priority_level: 2
              default_queue_policy {
                timeout_action: DELAY default_timeout_microseconds: 7 allow_timeout_override: true
              }
              priority_queue_policy { key: 1 value { max_queue_size: 9 } }
            }
            parameters { key: "target_latency_ms" value { string_value: "2.5" } }
            """
        )
    )
    assert options == BatchOptions(
        is_batching=True,
        max_batch_size=8,
        max_queue_delay_ns=100_000,
        preferred_batch_sizes=frozenset({4, 8}),
        preserve_ordering=True,
        priority_levels=3,
        default_priority=2,
        default_policy=QueuePolicy(timeout_us=7, is_delayed=True, allow_override=True),
        policies={1: QueuePolicy(max_queue_size=9)},
        target_ns=2_500_000,
    )
    assert [options.priority_of(p) for p in (0, 1, 3, 4)] == [2, 1, 3, 2]


def test_without_dynamic_batching_requests_run_alone_but_may_have_many_items():
    assert batch_options(config_of("max_batch_size: 8")) == BatchOptions(max_batch_size=8)
    assert batch_options(config_of("")) == BatchOptions()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size: -1", "max_batch_size is -1, expected 0 for a model without a batch dimension, or more"),
        ("dynamic_batching {}", "max_batch_size is 0, expected at least 1, since"),
        ("max_batch_size: 4 dynamic_batching { preferred_batch_size: 5 }", "preferred_batch_size is 5, expected 1 to"),
        ("max_batch_size: 4 dynamic_batching { priority_levels: 2 }", "default_priority_level is 0, expected 1 to"),
        (
            "max_batch_size: 4 dynamic_batching { default_priority_level: 2 }",
            "expected left out, since priority_levels",
        ),
        (
            "max_batch_size: 4 dynamic_batching { priority_levels: 2 default_priority_level: 1 "
            "priority_queue_policy { key: 3 value {} } }",
            "a key of priority_queue_policy is 3, expected 1 to priority_levels, which is 2",
        ),
        ('parameters { key: "target_latency_ms" value { string_value: "-1" } }', "'target_latency_ms' is -1, expected"),
        ('parameters { key: "target_latency_ms" value { string_value: "x" } }', "is 'x', expected a number"),
    ],
)
def test_what_cannot_be_is_refused(text: str, message: str):
    with pytest.raises(RequestError) as caught:
        batch_options(config_of(text))
    assert str(caught.value).startswith("the configuration of model 'm': ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", InstanceOptions(1, None)),
        ("instance_group { }", InstanceOptions(1, None)),
        ("instance_group { count: 2 } instance_group { count: 1 kind: KIND_CPU }", InstanceOptions(3, None)),
        ("instance_group { count: 2 passive: true }", InstanceOptions(1, None)),
        ('parameters { key: "threads" value { string_value: "3" } }', InstanceOptions(1, 3)),
    ],
)
def test_instances(text: str, expected: InstanceOptions):
    assert instance_options(config_of(text)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("instance_group { kind: KIND_GPU }", "instance_group.kind is KIND_GPU, expected KIND_CPU"),
        ("instance_group { count: 1000 }", "instance_group.count is 1000, expected 1 to 256"),
        ("instance_group { count: 200 } instance_group { count: 200 }", "the sum of instance_group.count is 400"),
        ('parameters { key: "threads" value { string_value: "1.5" } }', "'threads' is 1.5, expected a whole number"),
    ],
)
def test_instances_that_cannot_be(text: str, message: str):
    with pytest.raises(RequestError, match=message):
        instance_options(config_of(text))
