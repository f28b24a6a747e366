"""The books of a servable that runs others: statistics, and when nothing is under way any more."""

from __future__ import annotations

import asyncio
from time import monotonic_ns

from fusee.server.errors import Reason, ServingError
from fusee.server.statistics import ModelStatistics
from fusee.server.types import InferRequest

_FAILURES = {
    Reason.OVERLOADED: "REJECTED",
    Reason.EXPIRED: "REJECTED",
    Reason.DEADLINE: "REJECTED",
    Reason.CANCELLED: "CANCELED",
    Reason.INTERNAL: "BACKEND",
}


class Account:
    """Counts requests in and out. Used on the loop's thread."""

    def __init__(self, statistics: ModelStatistics) -> None:
        self.statistics = statistics
        self.under_way = 0
        self._drained: asyncio.Event | None = None

    def begin(self) -> None:
        self.under_way += 1
        self.statistics.pending += 1

    def succeed(self, request: InferRequest, items: int) -> None:
        """A request was answered; its timing is filled but for the end."""
        timing = request.timing
        timing.finished_ns = monotonic_ns()
        self.statistics.succeeded(timing, items)
        self.statistics.executed(
            items,
            timing.input_done_ns - timing.started_ns,
            timing.infer_done_ns - timing.input_done_ns,
            timing.finished_ns - timing.infer_done_ns,
        )
        self.end()

    def fail(self, request: InferRequest, error: ServingError) -> None:
        """A request that was begun was not answered."""
        self.refuse(request, error)
        self.end()

    def refuse(self, request: InferRequest, error: ServingError) -> None:
        """A request was not even begun."""
        request_ns = monotonic_ns() - request.timing.received_ns
        self.statistics.failed(_FAILURES.get(error.reason, "OTHER"), request_ns, error.reason)

    def end(self) -> None:
        self.under_way -= 1
        self.statistics.pending -= 1
        if self._drained is not None and self.under_way == 0:
            self._drained.set()

    async def drained(self) -> None:
        """Until what was begun is answered."""
        if self.under_way:
            self._drained = asyncio.Event()
            await self._drained.wait()


CANCELLED = "the request was cancelled"


def deadline_error(request: InferRequest, where: str) -> ServingError | None:
    """What to answer when the caller's deadline has passed."""
    if request.deadline_ns is None or monotonic_ns() < request.deadline_ns:
        return None
    return ServingError(Reason.DEADLINE, f"the deadline passed {where}")
