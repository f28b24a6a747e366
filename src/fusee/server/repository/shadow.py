"""A version that gets copies of requests after their answers were sent, and whose answers are compared with those.

Callers notice nothing: the shadow has a queue of its own, its errors are counted and dropped, and while it has as many
copies as it may, no further ones are made. Inputs are copied when they come, for what they lie in may be the caller's
again once the answer is sent; the comparison is done on a thread of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fusee.base.types import Array
from fusee.server.errors import ServingError
from fusee.server.plane import Post, Servable
from fusee.server.types import Done, InferRequest, InferResponse, Json, Tensor, Ticket, Timing

MOST_COPIES = 4  # under way at a time
_LEAST_MAGNITUDE = 1e-6  # below it a relative difference says nothing


@dataclass(frozen=True)
class Difference:
    """How two arrays of one output differ. ``rows`` and ``agreeing`` count positions of the largest value along the
    last axis; None where there is nothing to compare."""

    max_abs: float
    max_rel: float
    rows: int
    agreeing: int


def compare(ours: Array, theirs: Array) -> Difference | None:
    """The difference of an output of two versions; None when types or shapes differ.

    Strings differ by 0 or 1. NaN agrees with NaN, and with nothing else.
    """
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return None
    if ours.dtype == object or ours.size == 0:
        differs = float(not np.array_equal(ours, theirs))
        return Difference(differs, differs, 0, 0)
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        gap = np.where(np.isnan(gap), np.inf, gap)
        relative = gap / np.maximum(np.maximum(np.abs(a), np.abs(b)), _LEAST_MAGNITUDE)
        relative = np.where(gap == 0, 0.0, np.where(np.isnan(relative), np.inf, relative))
    if a.ndim == 0 or a.shape[-1] < 2:
        return Difference(float(gap.max()), float(relative.max()), 0, 0)
    agreeing = a.argmax(-1) == b.argmax(-1)
    return Difference(float(gap.max()), float(relative.max()), agreeing.size, int(agreeing.sum()))


@dataclass
class OutputTally:
    """Differences of one output so far."""

    compared: int = 0
    mismatched: int = 0  # other types or shapes
    max_abs: float = 0.0
    max_rel: float = 0.0
    rows: int = 0
    agreeing: int = 0

    def add(self, found: Difference | None) -> None:
        self.compared += 1
        if found is None:
            self.mismatched += 1
            return
        self.max_abs = max(self.max_abs, found.max_abs)
        self.max_rel = max(self.max_rel, found.max_rel)
        self.rows += found.rows
        self.agreeing += found.agreeing

    def document(self) -> Json:
        return {
            "compared": self.compared,
            "mismatched": self.mismatched,
            "max_abs_difference": _finite(self.max_abs),
            "max_rel_difference": _finite(self.max_rel),
            "argmax_agreement": self.agreeing / self.rows if self.rows else None,
        }


def _finite(value: float) -> float | None:
    """JSON has no infinity: null stands for a difference without bound."""
    return value if np.isfinite(value) else None


@dataclass
class ShadowTally:
    """What became of the copies."""

    copied: int = 0
    dropped: int = 0
    failed: int = 0
    outputs: dict[str, OutputTally] = field(default_factory=dict[str, OutputTally])


class Shadow:
    """Copies requests to a servable and counts how its answers differ. On the loop's thread."""

    def __init__(self, servable: Servable, post: Post) -> None:
        self._servable = servable
        self._post = post
        self._tally = ShadowTally()
        self._under_way = 0
        self._is_closed = False
        self._comparing = ThreadPoolExecutor(1, "fusee-shadow")

    def submit(self, stable: Servable, request: InferRequest, done: Done) -> Ticket:
        """Have ``stable`` answer the request and, when there is room, compare it with the shadow afterwards."""
        if self._is_closed or self._under_way >= MOST_COPIES:
            self._tally.dropped += 1
            return stable.submit(request, done)
        self._under_way += 1
        copy: list[InferRequest] = []
        answered: list[InferResponse | ServingError] = []

        def answer(response: InferResponse | ServingError) -> None:
            done(response)
            answered.append(response)
            if copy:
                self._post(lambda: self._follow(copy[0], response))

        ticket = stable.submit(request, answer)
        copy.append(_copied(request))
        if answered:
            self._post(lambda: self._follow(copy[0], answered[0]))
        return ticket

    def close(self) -> None:
        """Copy nothing more; what is under way is dropped."""
        self._is_closed = True
        self._comparing.shutdown(wait=False, cancel_futures=True)

    def document(self) -> Json:
        tally = self._tally
        return {
            "requests": tally.copied,
            "dropped": tally.dropped,
            "failed": tally.failed,
            "outputs": {name: t.document() for name, t in sorted(tally.outputs.items())},
        }

    def _follow(self, request: InferRequest, answer: InferResponse | ServingError) -> None:
        """Give the copy to the shadow, now that the caller has the answer."""
        if isinstance(answer, ServingError) or self._is_closed:
            self._under_way -= 1
            return
        self._tally.copied += 1
        self._servable.submit(request, lambda response: self._answered(answer.outputs, response))

    def _answered(self, expected: Sequence[Tensor], response: InferResponse | ServingError) -> None:
        if isinstance(response, ServingError) or self._is_closed:
            self._tally.failed += isinstance(response, ServingError)
            self._under_way -= 1
            return
        found = {t.name: t for t in response.outputs}
        pairs = [(t.name, t.values(), found[t.name].values()) for t in expected if t.name in found]
        self._comparing.submit(self._compare, pairs)

    def _compare(self, pairs: Sequence[tuple[str, Array, Array]]) -> None:
        """On the comparing thread."""
        differences = [(name, compare(ours, theirs)) for name, ours, theirs in pairs]
        self._post(lambda: self._count(differences))

    def _count(self, differences: Sequence[tuple[str, Difference | None]]) -> None:
        self._under_way -= 1
        for name, difference in differences:
            self._tally.outputs.setdefault(name, OutputTally()).add(difference)


def _copied(request: InferRequest) -> InferRequest:
    """The same question, to be asked again: its arrays are its own, and it waits as long as it takes."""
    inputs = tuple(t._replace(array=_own(t.values())) for t in request.inputs)
    outputs = tuple(w._replace(classification=0, region=None) for w in request.outputs)
    return replace(
        request,
        version="",
        inputs=inputs,
        outputs=outputs,
        timeout_us=0,
        deadline_ns=None,
        traceparent="",
        timing=Timing(),
    )


def _own(array: Array) -> np.ndarray[Any, Any]:
    return array.copy()
