"""What a served model has done so far: the numbers behind the statistics call, the metrics and the status page.

Written on the loop's thread only, so that nothing is locked.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from time import time

from fusee.server.errors import Reason
from fusee.server.types import Json, Timing

SECONDS = (*(b * 10.0**e for e in range(-5, 1) for b in (1.0, 2.5, 5.0)), 10.0, 25.0, 50.0)
BATCHES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
FIRST_RESPONSE_MS = (100.0, 500.0, 2000.0, 5000.0)  # the bounds that Triton gives this histogram
FAILURES = ("REJECTED", "CANCELED", "BACKEND", "OTHER")  # the reasons of nv_inference_request_failure


class Histogram:
    """Counts of values up to each bound; the last count is of those above all bounds."""

    def __init__(self, bounds: Sequence[float]) -> None:
        assert all(a < b for a, b in pairwise(bounds))
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(slots=True)
class Tally:
    """How often, and how long in all."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        self.count += 1
        self.ns += ns

    def document(self) -> Json:
        return {"count": self.count, "ns": self.ns}


@dataclass(slots=True)
class BatchTally:
    """Executions of one batch size."""

    compute_input: Tally = field(default_factory=Tally)
    compute_infer: Tally = field(default_factory=Tally)
    compute_output: Tally = field(default_factory=Tally)

    def document(self, batch_size: int) -> Json:
        stages = {name: getattr(self, name).document() for name in ("compute_input", "compute_infer", "compute_output")}
        return {"batch_size": batch_size, **stages}


class ModelStatistics:
    """The record of one model version."""

    def __init__(self) -> None:
        self.success = Tally()
        self.fail = Tally()
        self.queue = Tally()
        self.compute_input = Tally()
        self.compute_infer = Tally()
        self.compute_output = Tally()
        self.failures: dict[str, int] = dict.fromkeys(FAILURES, 0)
        self.batches: dict[int, BatchTally] = {}
        self.inference_count = 0
        self.execution_count = 0
        self.last_inference_ms = 0
        self.rejections: dict[str, int] = {}  # requests that failed, by ``Reason.value``
        self.pending = 0  # accepted and not yet answered
        self.load_s = 0.0  # from the call to load it until it was ready
        self.request_s = Histogram(SECONDS)
        self.queue_s = Histogram(SECONDS)
        self.compute_s = Histogram(SECONDS)
        self.batch_size = Histogram(BATCHES)
        self.first_response_ms = Histogram(FIRST_RESPONSE_MS)  # of decoupled models

    def succeeded(self, timing: Timing, batch_size: int) -> None:
        """A request of ``batch_size`` items was answered; all stages of ``timing`` are filled."""
        queue_ns = timing.started_ns - timing.queued_ns
        self.success.add(timing.finished_ns - timing.received_ns)
        self.queue.add(queue_ns)
        self.compute_input.add(timing.input_done_ns - timing.started_ns + timing.decode_ns)
        self.compute_infer.add(timing.infer_done_ns - timing.input_done_ns)
        self.compute_output.add(timing.finished_ns - timing.infer_done_ns)
        self.inference_count += batch_size
        self.last_inference_ms = int(time() * 1e3)
        self.request_s.add((timing.finished_ns - timing.received_ns) * 1e-9)
        self.queue_s.add(queue_ns * 1e-9)
        self.compute_s.add((timing.finished_ns - timing.started_ns + timing.decode_ns) * 1e-9)

    def failed(self, failure: str, request_ns: int, reason: Reason | None = None) -> None:
        """A request was not answered; ``failure`` is one of FAILURES."""
        self.fail.add(request_ns)
        self.failures[failure] += 1
        if reason is not None:
            self.rejections[reason.value] = self.rejections.get(reason.value, 0) + 1

    def executed(self, batch_size: int, input_ns: int, infer_ns: int, output_ns: int) -> None:
        """A batch of that many items ran once."""
        self.execution_count += 1
        self.batch_size.add(batch_size)
        tally = self.batches.get(batch_size)
        if tally is None:
            tally = self.batches[batch_size] = BatchTally()
        tally.compute_input.add(input_ns)
        tally.compute_infer.add(infer_ns)
        tally.compute_output.add(output_ns)

    def forget(self) -> None:
        """Start from nothing again, but for what is under way: warming up does not count."""
        vars(self).update({**vars(ModelStatistics()), "pending": self.pending})

    def go_on_from(self, before: ModelStatistics) -> None:
        """Count on where another left off."""
        own = {"pending": self.pending, "load_s": self.load_s}
        vars(self).update({**deepcopy(vars(before)), **own})

    def document(self) -> Json:
        """The model's entry in the answer of the statistics call, without name and version."""
        names = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
        stages = {name: getattr(self, name).document() for name in names}
        return {
            "last_inference": self.last_inference_ms,
            "inference_count": self.inference_count,
            "execution_count": self.execution_count,
            "inference_stats": {**stages, "cache_hit": Tally().document(), "cache_miss": Tally().document()},
            "response_stats": {},
            "batch_stats": [self.batches[size].document(size) for size in sorted(self.batches)],
            "memory_usage": [],
        }
