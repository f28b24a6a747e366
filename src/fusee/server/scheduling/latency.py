"""How long an engine takes for a batch, by measurement: at warm-up first, then from every batch that runs."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Hashable

FOLLOWS = 1 / 16
"""The share of a figure by which one observation can move it: an outlier counts for no more than any other."""
SHARED = 0.75
"""The part of a figure's change that the figures of other sizes share: mostly it is the machine that got slower or
quicker, and sizes that do not run now would look better or worse than they are."""
GAIN = 0.9
"""A size is better than another when it takes less than this share of the other's time per item."""
BATCH_NS = 30_000
"""What a batch costs besides its run: to hand it to another thread, and its answers back."""
DOUBT = 1 / 64
MAX_TABLES = 64


class LatencyTable:
    """Nanoseconds by batch size, for requests of one signature."""

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._ns: dict[int, float] = {}

    @property
    def figures(self) -> dict[int, float]:
        """Nanoseconds by the sizes that were seen, in order."""
        return {size: self._ns[size] for size in self._sizes}

    def observe(self, size: int, ns: float) -> None:
        """A batch of that many items took that long. The figure follows the observations' median slowly, and the others
        follow it."""
        known = self._ns.get(size)
        if known is None:
            self._ns[size] = max(1.0, float(ns))
            insort(self._sizes, size)
            return
        change = max(-FOLLOWS, min(FOLLOWS, (ns - known) / known))
        for other in self._sizes:
            self._ns[other] *= 1.0 + change * (1.0 if other == size else SHARED)

    def doubt(self, size: int) -> None:
        """A request of that size was refused for the estimate alone: it shrinks a little.

        Otherwise a figure from bad times would refuse every request for ever, and never be measured again.
        """
        at = bisect_left(self._sizes, size)
        for near in self._sizes[max(0, at - 1) : at + 1]:
            self._ns[near] *= 1.0 - DOUBT

    def estimate_ns(self, size: int) -> float:
        """The time of a batch, between the sizes seen by interpolation; 0 when nothing was seen."""
        known = self._ns.get(size)
        if known is not None:
            return known
        if not self._sizes:
            return 0.0
        at = bisect_left(self._sizes, size)
        if at == 0:
            return self._ns[self._sizes[0]]  # no smaller batch is slower
        if at == len(self._sizes):
            return self._beyond(size)
        low, high = self._sizes[at - 1], self._sizes[at]
        share = (size - low) / (high - low)
        return self._ns[low] + share * (self._ns[high] - self._ns[low])

    def _beyond(self, size: int) -> float:
        """Past the largest size seen, every item more takes as long as one of that batch does."""
        largest = self._sizes[-1]
        return self._ns[largest] * size / largest

    def per_item_ns(self, size: int) -> float:
        return self.estimate_ns(size) / size

    def best_per_item_ns(self, limit: int) -> float:
        """The least time per item of any size up to ``limit``; 0 when nothing was seen."""
        return min(self.per_item_ns(size) for size in self._upto(limit))

    def efficient_size(self, limit: int) -> int:
        """The smallest size up to ``limit`` that is about as good per item as the best one.

        A larger one would only keep its first requests waiting for its last. ``limit`` when nothing was seen.
        """
        if not self._sizes:
            return limit
        costs_ns = {size: (self.estimate_ns(size) + BATCH_NS) / size for size in self._upto(limit)}
        allowed_ns = min(costs_ns.values()) / GAIN
        return min(size for size, cost_ns in costs_ns.items() if cost_ns <= allowed_ns)

    def gains(self, size: int, limit: int) -> bool:
        """Whether a batch larger than ``size``, up to ``limit``, would take clearly less time per item.

        True when nothing was seen: then nothing speaks against it.
        """
        if not self._sizes:
            return True
        allowed_ns = self.per_item_ns(size) * GAIN
        return any(self.per_item_ns(larger) < allowed_ns for larger in self._upto(limit) if larger > size)

    def _upto(self, limit: int) -> list[int]:
        return [*self._sizes[: bisect_left(self._sizes, limit)], limit]


class LatencyTables:
    """A table for each signature of requests, those used last."""

    def __init__(self) -> None:
        self._tables: OrderedDict[Hashable, LatencyTable] = OrderedDict()

    def of(self, signature: Hashable) -> LatencyTable:
        table = self._tables.get(signature)
        if table is not None:
            self._tables.move_to_end(signature)
            return table
        table = self._tables[signature] = LatencyTable()
        if len(self._tables) > MAX_TABLES:
            self._tables.popitem(last=False)
        return table

    def figure_ns(self, signature: Hashable, size: int) -> float:
        """The estimate for a batch, which does not count as use of its table; 0 when nothing is known."""
        table = self._tables.get(signature)
        return table.estimate_ns(size) if table is not None else 0.0

    def items(self) -> list[tuple[Hashable, LatencyTable]]:
        return list(self._tables.items())
