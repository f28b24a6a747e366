"""Statistics count what happened, in the protocol's form."""

from __future__ import annotations

import pytest

from fusee.server.statistics import FAILURES, Histogram, ModelStatistics
from fusee.server.types import Timing


def timing(received_ns: int = 100) -> Timing:
    """Queued after 10 ns, waiting 20, then 30 of input, 40 of inference and 50 of output."""
    t = received_ns
    return Timing(t, t + 10, t + 30, t + 60, t + 100, t + 150)


def test_a_histogram_counts_values_up_to_each_bound():
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.add(value)
    assert histogram.counts == [2, 1, 1]
    assert histogram.total == pytest.approx(12.0)


def test_a_request_is_counted_with_its_items_and_stages():
    statistics = ModelStatistics()
    statistics.succeeded(timing(), 3)
    statistics.executed(3, 30, 40, 50)
    document = statistics.document()
    assert (document["inference_count"], document["execution_count"]) == (3, 1)
    assert document["inference_stats"]["success"] == {"count": 1, "ns": 150}
    assert document["inference_stats"]["queue"] == {"count": 1, "ns": 20}
    assert document["inference_stats"]["compute_input"] == {"count": 1, "ns": 30}
    assert document["inference_stats"]["compute_infer"] == {"count": 1, "ns": 40}
    assert document["inference_stats"]["compute_output"] == {"count": 1, "ns": 50}
    assert document["batch_stats"] == [
        {
            "batch_size": 3,
            "compute_input": {"count": 1, "ns": 30},
            "compute_infer": {"count": 1, "ns": 40},
            "compute_output": {"count": 1, "ns": 50},
        }
    ]
    assert document["last_inference"] > 0


def test_batches_are_listed_by_size():
    statistics = ModelStatistics()
    for size in (8, 1, 8, 3):
        statistics.executed(size, 1, 2, 3)
    assert [(b["batch_size"], b["compute_infer"]["count"]) for b in statistics.document()["batch_stats"]] == [
        (1, 1),
        (3, 1),
        (8, 2),
    ]


def test_failures_are_counted_by_reason_and_do_not_count_as_inferences():
    statistics = ModelStatistics()
    assert statistics.failures == dict.fromkeys(FAILURES, 0)
    statistics.failed("REJECTED", 70)
    assert statistics.failures["REJECTED"] == 1
    assert statistics.document()["inference_stats"]["fail"] == {"count": 1, "ns": 70}
    assert statistics.inference_count == 0
