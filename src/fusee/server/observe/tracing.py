"""Traces requests: decides which, collects their times when they are answered, and writes spans on a thread of its own.

A request that is not traced costs one look at ``is_on``.
"""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic_ns, time
from typing import Protocol

from fusee.base.errors import RequestError
from fusee.server.errors import ServingError
from fusee.server.observe.chrome import ChromeFile
from fusee.server.observe.exposition import Exemplar, Exemplars
from fusee.server.observe.otlp import open_otlp
from fusee.server.observe.spans import (
    Context,
    Finished,
    Span,
    StepsOf,
    batch_key,
    new_context,
    remote,
    spans_of,
    wall_clock_offset_ns,
)
from fusee.server.observe.trace_settings import Rates, TraceSettings
from fusee.server.statistics import SECONDS
from fusee.server.types import Done, InferRequest, InferResponse

LONGEST_BACKLOG = 10_000  # traced requests whose spans are not written yet; more are dropped
INTERVAL_S = 1.0
SETTLING_NS = 100_000_000
"""The requests of a batch are answered within this time of each other, one after the other."""
_log = logging.getLogger(__name__)


class SpanWriter(Protocol):
    """Where spans go; called on the tracer's thread."""

    def write(self, spans: Sequence[Span], traces_per_file: int = 0) -> None: ...

    def close(self) -> None: ...


class Tracer:
    """Traces the requests of a server. Off until the settings say a level; with a destination given, on from the start.

    ``otlp_endpoint`` is a collector's OTLP/HTTP address and ``trace_file`` a Chrome trace; at most one is given. Raises
    RequestError when that cannot be opened.
    """

    def __init__(
        self,
        otlp_endpoint: str = "",
        trace_file: Path | None = None,
        steps: StepsOf | None = None,
        writer: SpanWriter | None = None,
    ) -> None:
        self._writer = writer or _writer(otlp_endpoint, trace_file)
        mode = "" if self._writer is None else "chrome" if trace_file else "opentelemetry"
        initial = Rates(frozenset(("TIMESTAMPS",))) if self._writer else None
        self.settings = TraceSettings(mode, str(trace_file or ""), initial, has_steps=steps is not None)
        self._steps = steps
        self._finished: deque[Finished] = deque()  # the loop's thread appends, the tracer's takes
        self._dropped = 0
        self._exemplars: dict[tuple[str, str], dict[int, Exemplar]] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_on(self) -> bool:
        """Whether any request may be traced."""
        return self.settings.is_on

    def watching(self, request: InferRequest, done: Done) -> Done:
        """``done``, and when this request is to be traced, its spans once the last answer is there."""
        caller = remote(request.traceparent)
        if not self._takes(request.model, None if caller is None else caller.is_sampled):
            return done
        self.settings.took(request.model)
        parent = None if caller is None else caller.context
        context = new_context("" if parent is None else parent.trace_id)
        request.traceparent = f"00-{context.trace_id}-{context.span_id}-01"  # for what this request calls in turn

        def watched(answer: InferResponse | ServingError) -> None:
            if isinstance(answer, ServingError) or answer.final:
                self._collect(request, answer, context, parent)
            done(answer)

        return watched

    def finished(self, request: InferRequest, answer: InferResponse | ServingError, batch_size: int = 0) -> None:
        """Trace a request that is over, without having watched it."""
        caller = remote(request.traceparent)
        if not self._takes(request.model, None if caller is None else caller.is_sampled):
            return
        self.settings.took(request.model)
        parent = None if caller is None else caller.context
        context = new_context("" if parent is None else parent.trace_id)
        self._collect(request, answer, context, parent, batch_size)

    def exemplars(self) -> Mapping[tuple[str, str], Exemplars]:
        """The latest traced request of each duration bucket, by model and version."""
        return self._exemplars

    def flush(self, is_last: bool = True) -> None:
        """Write what was collected: with ``is_last`` all of it, else without a batch that more of may be about to come.
        Called on the tracer's thread; at other times by tests."""
        finished = [self._finished.popleft() for _ in range(len(self._finished))]
        if not is_last:
            self._put_back(finished)
        dropped, self._dropped = self._dropped, 0
        if dropped:
            _log.warning("dropped the traces of %d requests: they came faster than they could be written", dropped)
        if not finished or self._writer is None:
            return
        spans = list(spans_of(finished, wall_clock_offset_ns(), self._steps))
        try:
            self._writer.write(spans, self.settings.of("").log_frequency)
        except OSError as err:
            _log.error("traces of %d requests could not be written: %s", len(finished), err)

    def _put_back(self, finished: list[Finished]) -> None:
        """The requests at the end that ran together, when the last was answered just now."""
        if not finished or monotonic_ns() - finished[-1].ended_ns > SETTLING_NS:
            return
        batch = batch_key(finished[-1])
        while finished and batch_key(finished[-1]) == batch:
            self._finished.appendleft(finished.pop())

    def close(self) -> None:
        """Write the rest and give the thread back. Again is harmless."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._writer is None:
            return
        self.flush()
        writer, self._writer = self._writer, None
        try:
            writer.close()
        except OSError as err:
            _log.error("the traces could not be ended: %s", err)

    def _takes(self, model: str, decided: bool | None) -> bool:
        """The caller's decision holds where there is one and the model is traced at all."""
        if decided is None:
            return self.settings.takes(model)
        return decided and self.settings.of(model).is_on

    def _collect(
        self,
        request: InferRequest,
        answer: InferResponse | ServingError,
        context: Context,
        parent: Context | None,
        batch_size: int = 0,
    ) -> None:
        if len(self._finished) >= LONGEST_BACKLOG:
            self._dropped += 1
            return
        ended_ns = monotonic_ns()
        found = Finished(
            context,
            parent,
            request.model,
            request.version,
            request.id,
            request.timing,
            ended_ns,
            batch_size,
            has_steps="STEPS" in self.settings.of(request.model).levels,
        )
        if isinstance(answer, ServingError):
            found = replace(found, error=answer.message, reason=answer.reason.value)
        else:
            found = replace(found, version=answer.version)
            self._remember(found)
        self._finished.append(found)
        self._start()

    def _remember(self, request: Finished) -> None:
        duration_s = ((request.timing.finished_ns or request.ended_ns) - request.timing.received_ns) * 1e-9
        exemplar = Exemplar(request.context.trace_id, duration_s, time())
        exemplars = self._exemplars.setdefault((request.model, request.version), {})
        exemplars[bisect_left(SECONDS, duration_s)] = exemplar

    def _start(self) -> None:
        if self._thread is None and not self._stopping.is_set():
            self._thread = threading.Thread(target=self._write_until_stopped, name="fusee-traces", daemon=True)
            self._thread.start()

    def _write_until_stopped(self) -> None:
        while not self._stopping.wait(INTERVAL_S):
            self.flush(is_last=False)


def _writer(otlp_endpoint: str, trace_file: Path | None) -> SpanWriter | None:
    if otlp_endpoint and trace_file:
        raise RequestError("traces go to an OpenTelemetry endpoint or to a file: give one of them")
    if otlp_endpoint:
        return open_otlp(otlp_endpoint)
    return ChromeFile(trace_file) if trace_file else None
