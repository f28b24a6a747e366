"""Which requests run together, and when: pure logic, without threads and without a clock of its own.

Requests wait in groups whose arrays can be joined, each in the order in which it is to be served: by priority, those
that a policy delays after the others of their priority, then by arrival. A batch is always the beginning of a group.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable
from enum import Enum
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import Generic, NamedTuple, TypeVar

from fusee.server.errors import Reason, ServingError
from fusee.server.scheduling.latency import LatencyTable, LatencyTables
from fusee.server.scheduling.options import NS_PER_US, BatchOptions

WAKE_NS = 200_000
"""How late a thread may wake from a wait; so much sooner ends a wait that must not end too late."""
SAFETY = 1.25
"""A run may take this many times what the table says before a deadline that was waited for is missed."""
LEAST_RETRY_S = 0.001
Order = tuple[int, bool, int]
"""When a request is served: by priority, then whether it is delayed, then by arrival."""


class Why(Enum):
    """Why a batch was run as it was. The value is what the status page says."""

    ALONE = "requests of this model run one at a time"
    AT_ONCE = "ran as soon as an instance was free"
    FULL = "nothing more fits into the batch"
    PREFERRED = "reached a preferred batch size"
    DELAY = "waited for others as long as max_queue_delay_microseconds allows"
    DUE = "waiting for others any longer would have missed a deadline"
    KEPT_SMALL = "a larger batch would have missed a deadline"
    NO_GAIN = "a larger batch is no faster per item"
    CLOSING = "the model is being unloaded"


class Entry:
    """A request in the queue. ``items`` is the size of its leading dimension; requests are never split."""

    __slots__ = ("deadline_ns", "due_ns", "expires_ns", "is_waiting", "items", "order", "queued_ns", "signature")

    def __init__(self, signature: Hashable, items: int, deadline_ns: int | None = None) -> None:
        self.signature = signature
        self.items = items
        self.deadline_ns = deadline_ns  # the caller's: after it the answer is of no use
        self.due_ns: int | None = None  # the sooner of that and the model's target
        self.expires_ns: int | None = None  # by the queue's policy
        self.queued_ns = 0
        self.order: Order = (0, False, 0)
        self.is_waiting = False


E = TypeVar("E", bound=Entry)
_order = attrgetter("order")


class Refusal(NamedTuple, Generic[E]):
    """A request that will not run, and what to tell its caller."""

    entry: E
    error: ServingError


class Batch(NamedTuple, Generic[E]):
    """Requests to run together, in order. None of them waits any more."""

    entries: list[E]
    items: int
    why: Why


class Answer(NamedTuple, Generic[E]):
    """What to do now. Without a batch: ask again at ``wait_until_ns``, or with None when something arrives."""

    batch: Batch[E] | None
    wait_until_ns: int | None
    refused: list[Refusal[E]]


class Group(Generic[E]):
    """Requests that wait, in order of service."""

    def __init__(self) -> None:
        self.entries: list[E] = []
        self.items = 0

    def add(self, entry: E) -> None:
        if self.entries and entry.order < self.entries[-1].order:
            insort(self.entries, entry, key=_order)
        else:
            self.entries.append(entry)
        self.items += entry.items

    def remove(self, entry: E) -> None:
        at = bisect_left(self.entries, entry.order, key=_order)
        assert self.entries[at] is entry
        del self.entries[at]
        self.items -= entry.items


class _Level:
    """How much waits at one priority."""

    __slots__ = ("items", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.items = 0


class _Choice(NamedTuple):
    """How much of a group to run and why; with 0 requests, until when to hold it."""

    requests: int
    items: int
    why: Why
    hold_until_ns: int = 0


class Batcher(Generic[E]):
    """The queue of one model. Not for several threads at once: the caller keeps order."""

    def __init__(self, options: BatchOptions, tables: LatencyTables, instances: int = 1) -> None:
        self._options = options
        self._tables = tables
        self._instances = instances
        self._groups: dict[Hashable, Group[E]] = {}
        self._levels: dict[int, _Level] = {}
        self._timers: list[tuple[int, int, E]] = []
        self._arrivals = 0
        self.waiting = 0
        self.is_closing = False  # then nothing is held back for others

    def add(self, entry: E, now_ns: int, priority: int = 0, timeout_us: int = 0) -> ServingError | None:
        """Queue a request; the error when it cannot be taken."""
        options = self._options
        assert 1 <= entry.items <= options.max_batch_size
        priority = options.priority_of(priority)
        policy = options.policy_of(priority)
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = _Level()
        if policy.max_queue_size and level.requests >= policy.max_queue_size:
            return ServingError(Reason.OVERLOADED, "Exceeds maximum queue size", self._retry_s(entry, priority))
        if entry.deadline_ns is not None and now_ns + self._soonest_ns(entry, priority) > entry.deadline_ns:
            return self._too_late(entry, priority, now_ns)
        timeout_us = policy.timeout_of(timeout_us)
        self._arrivals += 1
        entry.order = (priority, False, self._arrivals)
        entry.queued_ns = now_ns
        entry.expires_ns = now_ns + timeout_us * NS_PER_US if timeout_us else None
        entry.due_ns = _sooner(entry.deadline_ns, now_ns + options.target_ns if options.target_ns else None)
        self._enter(entry)
        self._set_timer(entry)
        return None

    def cancel(self, entry: E) -> bool:
        """Take a request out of the queue; False when it is not there any more."""
        if not entry.is_waiting:
            return False
        self._leave(entry)
        return True

    def acts_on(self, entry: E) -> bool:
        """Whether the next answer may differ for a request just added: else there is no need to ask."""
        options = self._options
        if not options.max_queue_delay_ns or options.preserve_ordering:
            return True
        if entry.due_ns is not None or entry.expires_ns is not None:
            return True
        group = self._groups[self._key(entry)]
        first = min(options.preferred_batch_sizes, default=options.max_batch_size)
        if len(group.entries) == 1 or group.items >= first:
            return True
        return not self._tables.of(entry.signature).gains(group.items, options.max_batch_size)

    def next(self, now_ns: int, can_run: bool = True) -> Answer[E]:
        """What to do at that time: a batch to run on a free instance, if there is one, and whom to refuse."""
        refused = self._expired(now_ns)
        held_ns: int | None = None
        for group in self._in_turn() if can_run else ():
            choice = self._choose(group, now_ns, refused)
            if choice is None:
                continue
            if choice.requests:
                return Answer(self._taken(group, choice), None, refused)
            held_ns = _sooner(held_ns, choice.hold_until_ns)
        timer_ns = self._timers[0][0] if self._timers else None
        return Answer(None, _sooner(held_ns, timer_ns), refused)

    # Groups

    def _key(self, entry: E) -> Hashable:
        """All requests are in one group when order counts for more than joining."""
        return None if self._options.preserve_ordering else entry.signature

    def _enter(self, entry: E) -> None:
        key = self._key(entry)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group()
        group.add(entry)
        level = self._levels[entry.order[0]]
        level.requests += 1
        level.items += entry.items
        self.waiting += 1
        entry.is_waiting = True

    def _leave(self, entry: E) -> None:
        key = self._key(entry)
        group = self._groups[key]
        group.remove(entry)
        if not group.entries:
            del self._groups[key]
        self._left(entry)

    def _left(self, entry: E) -> None:
        level = self._levels[entry.order[0]]
        level.requests -= 1
        level.items -= entry.items
        self.waiting -= 1
        entry.is_waiting = False

    def _taken(self, group: Group[E], choice: _Choice) -> Batch[E]:
        entries = group.entries[: choice.requests]
        del group.entries[: choice.requests]
        group.items -= choice.items
        if not group.entries:
            del self._groups[self._key(entries[0])]
        for entry in entries:
            self._left(entry)
        return Batch(entries, choice.items, choice.why)

    def _in_turn(self) -> list[Group[E]]:
        """The groups by the request that is first in each.

        One that is held back for others does not hold back those after it: an instance is never idle for its sake.
        """
        groups = list(self._groups.values())
        if len(groups) > 1:
            groups.sort(key=_first_order)
        return groups

    # Time limits

    def _set_timer(self, entry: E) -> None:
        at_ns = _sooner(entry.expires_ns, entry.deadline_ns)
        if at_ns is None:
            return
        if len(self._timers) > 2 * self.waiting + 64:
            self._timers = [t for t in self._timers if t[2].is_waiting]
            heapify(self._timers)
        heappush(self._timers, (at_ns, self._arrivals, entry))
        self._arrivals += 1

    def _expired(self, now_ns: int) -> list[Refusal[E]]:
        """Take out what has waited too long, or put it behind the others."""
        refused: list[Refusal[E]] = []
        while self._timers and (self._timers[0][0] <= now_ns or not self._timers[0][2].is_waiting):
            entry = heappop(self._timers)[2]
            if not entry.is_waiting:
                continue
            priority = entry.order[0]
            self._leave(entry)
            if entry.deadline_ns is not None and entry.deadline_ns <= now_ns:
                refused.append(Refusal(entry, self._too_late(entry, priority, now_ns)))
            elif self._options.policy_of(priority).is_delayed:
                entry.order = (priority, True, entry.order[2])
                entry.expires_ns = None
                self._enter(entry)
                self._set_timer(entry)
            else:
                error = ServingError(Reason.EXPIRED, "Request timeout expired", self._retry_s(entry, priority))
                refused.append(Refusal(entry, error))
        return refused

    def _too_late(self, entry: E, priority: int, now_ns: int) -> ServingError:
        """The refusal of a request whose deadline is lost."""
        table = self._tables.of(entry.signature)
        run_ns = table.estimate_ns(entry.items)
        if entry.deadline_ns is not None and now_ns < entry.deadline_ns < now_ns + run_ns:
            table.doubt(entry.items)
        run_ms = run_ns * 1e-6
        message = f"the deadline cannot be met: {self.waiting} requests wait, and this one takes {run_ms:.3g} ms itself"
        return ServingError(Reason.DEADLINE, message, self._retry_s(entry, priority))

    def _soonest_ns(self, entry: E, priority: int) -> float:
        """How long a request takes at best that is queued now, counting what is served before it."""
        table = self._tables.of(entry.signature)
        ahead = sum(level.items for key, level in self._levels.items() if key <= priority)
        behind_ns = ahead * table.best_per_item_ns(self._options.max_batch_size) / self._instances if ahead else 0.0
        return behind_ns + table.estimate_ns(entry.items)

    def _retry_s(self, entry: E, priority: int) -> float:
        """When there is likely to be room: once what waits now has run."""
        return max(LEAST_RETRY_S, self._soonest_ns(entry, priority) * 1e-9)

    # Batches

    def _choose(self, group: Group[E], now_ns: int, refused: list[Refusal[E]]) -> _Choice | None:
        """How much of a group to run; None when nothing is left of it."""
        for entry in self._hopeless(group, now_ns):
            self._leave(entry)
            refused.append(Refusal(entry, self._too_late(entry, entry.order[0], now_ns)))
        if not group.entries:
            return None
        first = group.entries[0]
        if not self._options.is_batching:
            return _Choice(1, first.items, Why.ALONE)
        table = self._tables.of(first.signature)
        sums = self._sums(group)
        choice = self._gathered(group, sums, table, now_ns)
        if not choice.requests:
            return choice
        return self._cut(group, sums, table, choice, now_ns)

    def _hopeless(self, group: Group[E], now_ns: int) -> list[E]:
        """Those that would be in the next batch and can no longer meet their deadlines."""
        found: list[E] = []
        items = 0
        for entry in group.entries:
            if items >= self._options.max_batch_size:
                break
            run_ns = self._tables.of(entry.signature).estimate_ns(entry.items)
            if entry.deadline_ns is not None and now_ns + run_ns > entry.deadline_ns:
                found.append(entry)
            else:
                items += entry.items
        return found

    def _sums(self, group: Group[E]) -> list[int]:
        """The items of the first request, of the first two, and so on, as far as they fit into one batch."""
        sums: list[int] = []
        items, signature = 0, group.entries[0].signature
        for entry in group.entries:
            items += entry.items
            if items > self._options.max_batch_size or entry.signature != signature:
                break
            sums.append(items)
        return sums

    def _gathered(self, group: Group[E], sums: list[int], table: LatencyTable, now_ns: int) -> _Choice:
        """Whether enough has come together, or enough time has passed."""
        options, everything = self._options, (len(sums), sums[-1])
        preferred = [i for i, items in enumerate(sums) if items in options.preferred_batch_sizes]
        if preferred:
            return _Choice(preferred[-1] + 1, sums[preferred[-1]], Why.PREFERRED)
        if len(sums) < len(group.entries) or sums[-1] == options.max_batch_size:
            return _Choice(*everything, Why.FULL)
        if not options.max_queue_delay_ns:
            return _Choice(*everything, Why.AT_ONCE)
        if self.is_closing:
            return _Choice(*everything, Why.CLOSING)
        if not table.gains(sums[-1], options.max_batch_size):
            return _Choice(*everything, Why.NO_GAIN)
        until_ns = min(e.queued_ns for e in group.entries) + options.max_queue_delay_ns
        latest_ns = _latest_start_ns(group.entries, table.estimate_ns(sums[-1]))
        if latest_ns is not None and latest_ns < until_ns:
            return _Choice(*everything, Why.DUE) if now_ns >= latest_ns else _Choice(0, 0, Why.DUE, latest_ns)
        return _Choice(*everything, Why.DELAY) if now_ns >= until_ns else _Choice(0, 0, Why.DELAY, until_ns)

    def _cut(self, group: Group[E], sums: list[int], table: LatencyTable, choice: _Choice, now_ns: int) -> _Choice:
        """The choice, made smaller where the larger batch is slower per item or misses a deadline."""
        requests, why = choice.requests, choice.why
        efficient = table.efficient_size(sums[requests - 1])
        while requests > 1 and sums[requests - 1] > efficient:
            requests, why = requests - 1, Why.NO_GAIN
        within = self._in_time(group.entries[:requests], sums, table, now_ns)
        if within < requests:
            requests, why = within, Why.KEPT_SMALL
        return _Choice(requests, sums[requests - 1], why)

    def _in_time(self, entries: list[E], sums: list[int], table: LatencyTable, now_ns: int) -> int:
        """How many requests, at most, run together so that each is done when due; at least 1.

        What cannot be done when due even by itself is past helping, and hurries nobody.
        """
        best = 1
        due_ns: int | None = None
        for i, entry in enumerate(entries):
            if entry.due_ns is not None and now_ns + table.estimate_ns(entry.items) <= entry.due_ns:
                due_ns = _sooner(due_ns, entry.due_ns)
            if due_ns is None or now_ns + table.estimate_ns(sums[i]) <= due_ns:
                best = i + 1
        return best


def _first_order(group: Group[E]) -> Order:
    return group.entries[0].order


def _latest_start_ns(entries: list[E], run_ns: float) -> int | None:
    """When a batch must start at the latest, so that nothing in it expires or misses its deadline."""
    latest_ns: int | None = None
    for entry in entries:
        if entry.due_ns is not None:
            latest_ns = _sooner(latest_ns, entry.due_ns - int(run_ns * SAFETY) - WAKE_NS)
        if entry.expires_ns is not None:
            latest_ns = _sooner(latest_ns, entry.expires_ns - WAKE_NS)
    return latest_ns


def _sooner(a: int | None, b: int | None) -> int | None:
    if a is None or b is None:
        return b if a is None else a
    return min(a, b)
