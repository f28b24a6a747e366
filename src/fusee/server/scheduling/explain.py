"""Why requests waited: the last ones, for the status page."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from fusee.server.scheduling.batcher import Why
from fusee.server.scheduling.submission import Run

KEPT = 64  # batches


class Explanation(NamedTuple):
    """How one request came to run."""

    request_id: str
    waited_us: float
    batch_size: int  # items of the batch that it ran in
    requests: int  # in that batch
    why: str


class Explanations:
    """The last batches that went through the queue. Kept as they come, put into words when asked."""

    def __init__(self) -> None:
        self._kept: deque[tuple[list[tuple[str, int]], int, Why]] = deque(maxlen=KEPT)

    def add(self, run: Run) -> None:
        waits = [(s.request.id, run.started_ns - s.queued_ns) for s in run.submissions]
        self._kept.append((waits, run.items, run.why))

    def latest(self) -> list[Explanation]:
        """One for each request, the newest last."""
        return [
            Explanation(request_id, ns * 1e-3, items, len(waits), why.value)
            for waits, items, why in self._kept
            for request_id, ns in waits
        ]
