"""What a traced request becomes: spans, made from the times that were recorded on its way.

Trace context is W3C's: https://www.w3.org/TR/trace-context/ ("traceparent").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from secrets import token_hex
from time import monotonic_ns, time_ns
from typing import NamedTuple

from fusee.runtime.profile import StepTime
from fusee.server.types import Timing

Attributes = dict[str, str | int | float | bool]
StepsOf = Callable[[str, str], Sequence[StepTime]]
"""The engine's steps with their usual times, by model and version; may take a while, and be called on any thread."""


class Context(NamedTuple):
    """A span as others refer to it. Identifiers are lower-case hex: 32 and 16 digits."""

    trace_id: str
    span_id: str


class Remote(NamedTuple):
    """The caller's span, and whether it is traced."""

    context: Context
    is_sampled: bool


class Span(NamedTuple):
    """A stretch of time. Times are nanoseconds since 1970."""

    name: str
    context: Context
    parent: Context | None
    start_ns: int
    end_ns: int
    attributes: Attributes
    links: tuple[Context, ...] = ()
    is_request: bool = False
    error: str = ""


@dataclass(frozen=True)
class Finished:
    """A traced request that was answered, or was not. Nothing of its tensors is kept."""

    context: Context
    parent: Context | None
    model: str
    version: str
    id: str
    timing: Timing
    ended_ns: int  # on the monotonic clock, as the timing
    batch_size: int = 0  # 0 where unknown
    error: str = ""
    reason: str = ""
    has_steps: bool = False


_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
STAGES = (
    ("queue", "queued_ns", "started_ns"),
    ("compute_input", "started_ns", "input_done_ns"),
    ("compute_infer", "input_done_ns", "infer_done_ns"),
    ("compute_output", "infer_done_ns", "finished_ns"),
)


def remote(traceparent: str) -> Remote | None:
    """The caller's span. None for none, and for one that the standard says to ignore."""
    found = _TRACEPARENT.fullmatch(traceparent.strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return Remote(Context(trace_id, span_id), bool(int(flags, 16) & 1))


def new_context(trace_id: str = "") -> Context:
    """A new span of that trace, or of a new one."""
    return Context(trace_id or token_hex(16), token_hex(8))


def wall_clock_offset_ns() -> int:
    """What to add to a monotonic time to get nanoseconds since 1970."""
    return time_ns() - monotonic_ns()


def spans_of(finished: Iterable[Finished], offset_ns: int, steps: StepsOf | None = None) -> Iterator[Span]:
    """The spans of traced requests. Those that were computed together, which the same times tell, share a batch span
    that links to each of them, as they link to it."""
    for _, members in groupby(sorted(finished, key=batch_key), key=batch_key):
        requests = list(members)
        batch = new_context() if requests[0].timing.started_ns else None
        for request in requests:
            yield from _request_spans(request, offset_ns, batch, steps)
        if batch is not None:
            yield _batch_span(requests, offset_ns, batch)


def batch_key(request: Finished) -> tuple[str, str, int, int]:
    """The same for requests that were computed together."""
    timing = request.timing
    own = 0 if timing.started_ns else id(request)
    return request.model, request.version, timing.started_ns, own


def _batch_span(requests: Sequence[Finished], offset_ns: int, context: Context) -> Span:
    first = requests[0]
    attributes: Attributes = {"model_name": first.model, "model_version": first.version, "requests": len(requests)}
    if first.batch_size:
        attributes["batch_size"] = first.batch_size
    end_ns = max(r.timing.finished_ns or r.ended_ns for r in requests)
    links = tuple(r.context for r in requests)
    return Span("batch", context, None, first.timing.started_ns + offset_ns, end_ns + offset_ns, attributes, links)


def _request_spans(request: Finished, offset_ns: int, batch: Context | None, steps: StepsOf | None) -> Iterator[Span]:
    timing = request.timing
    attributes: Attributes = {"model_name": request.model, "model_version": request.version}
    if request.id:
        attributes["request_id"] = request.id
    if request.reason:
        attributes["error.type"] = request.reason
    yield Span(
        "infer",
        request.context,
        request.parent,
        timing.received_ns + offset_ns,
        request.ended_ns + offset_ns,
        attributes,
        (batch,) if batch else (),
        is_request=True,
        error=request.error,
    )
    if timing.decode_ns:
        begin_ns = timing.queued_ns - timing.decode_ns + offset_ns
        context = new_context(request.context.trace_id)
        yield Span("decode", context, request.context, begin_ns, timing.queued_ns + offset_ns, {})
    for name, start, end in STAGES:
        start_ns, end_ns = getattr(timing, start), getattr(timing, end)
        if not start_ns:
            return
        context = new_context(request.context.trace_id)
        ended_ns = end_ns or request.ended_ns  # a request that failed ends in the stage where it was
        yield Span(name, context, request.context, start_ns + offset_ns, ended_ns + offset_ns, {})
        if name == "compute_infer" and request.has_steps and steps is not None and end_ns:
            found = steps(request.model, request.version)
            yield from _step_spans(found, context, start_ns + offset_ns, end_ns + offset_ns)


def _step_spans(steps: Sequence[StepTime], parent: Context, start_ns: int, end_ns: int) -> Iterator[Span]:
    """The engine's steps, one after the other, with their usual shares of this request's time."""
    whole_us = sum(step.time_us for step in steps) or 1.0
    edges_ns = [start_ns]
    done_us = 0.0
    for step in steps:
        done_us += step.time_us
        edges_ns.append(start_ns + int((end_ns - start_ns) * done_us / whole_us))
    for step, (begin_ns, finish_ns) in zip(steps, pairwise(edges_ns), strict=True):
        attributes: Attributes = {"kernel": step.kernel, "usual_us": step.time_us, "is_estimated": True}
        yield Span(step.op, new_context(parent.trace_id), parent, begin_ns, finish_ns, attributes)
