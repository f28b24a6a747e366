"""The batcher loses nothing, doubles nothing, keeps order and limits, and waits no longer than it may."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusee.server.errors import Reason
from fusee.server.scheduling.batcher import Answer, Batcher, Entry, Why
from fusee.server.scheduling.latency import LatencyTables
from fusee.server.scheduling.options import BatchOptions, QueuePolicy

MS = 1_000_000
GREEDY = BatchOptions(is_batching=True, max_batch_size=8)
PATIENT = replace(GREEDY, max_queue_delay_ns=5 * MS)


def tables_of(ns_by_size: dict[int, int], signature: str = "a") -> LatencyTables:
    tables = LatencyTables()
    for size, ns in ns_by_size.items():
        tables.of(signature).observe(size, ns)
    return tables


def filled(
    options: BatchOptions, *items: int, tables: LatencyTables | None = None
) -> tuple[Batcher[Entry], list[Entry]]:
    """A batcher to which requests of so many items came at time 0."""
    batcher: Batcher[Entry] = Batcher(options, tables or LatencyTables())
    entries = [Entry("a", n) for n in items]
    for entry in entries:
        assert batcher.add(entry, 0) is None
    return batcher, entries


def ran(answer: Answer[Entry]) -> list[Entry]:
    assert answer.batch is not None
    return answer.batch.entries


def test_without_batching_requests_run_one_at_a_time():
    batcher, entries = filled(BatchOptions(max_batch_size=8), 1, 3)
    first, second = batcher.next(0), batcher.next(0)
    assert (ran(first), ran(second)) == (entries[:1], entries[1:])
    assert first.batch is not None
    assert first.batch.why is Why.ALONE


def test_greedy_takes_what_waits():
    batcher, entries = filled(GREEDY, 1, 2, 3)
    answer = batcher.next(0)
    assert ran(answer) == entries
    assert answer.batch is not None
    assert (answer.batch.items, answer.batch.why) == (6, Why.AT_ONCE)
    assert batcher.next(1) == Answer(None, None, [])


def test_a_request_is_never_split_nor_overtaken_by_a_smaller_one():
    batcher, entries = filled(GREEDY, 5, 4, 3)
    assert ran(batcher.next(0)) == entries[:1]
    assert ran(batcher.next(0)) == entries[1:]


def test_a_batch_waits_for_others_until_the_delay_of_its_oldest_is_over():
    batcher, entries = filled(PATIENT, 1)
    late = Entry("a", 1)
    batcher.add(late, 3 * MS)
    assert batcher.next(3 * MS) == Answer(None, 5 * MS, [])
    answer = batcher.next(5 * MS)
    assert ran(answer) == [*entries, late]
    assert answer.batch is not None
    assert answer.batch.why is Why.DELAY


def test_a_full_batch_does_not_wait():
    batcher, entries = filled(PATIENT, 4, 4, 1)
    assert ran(batcher.next(0)) == entries[:2]
    assert batcher.next(0).wait_until_ns == 5 * MS


def test_only_a_request_that_changes_something_needs_a_look():
    batcher: Batcher[Entry] = Batcher(replace(PATIENT, max_batch_size=3), LatencyTables())
    looks: list[bool] = []
    for _ in range(3):
        entry = Entry("a", 1)
        batcher.add(entry, 0)
        looks.append(batcher.acts_on(entry))
    assert looks == [True, False, True]


def test_a_preferred_size_does_not_wait():
    batcher, entries = filled(replace(PATIENT, preferred_batch_sizes=frozenset({2, 4})), 1, 1, 1, 1, 1)
    answer = batcher.next(0)
    assert ran(answer) == entries[:4]
    assert answer.batch is not None
    assert answer.batch.why is Why.PREFERRED
    assert batcher.next(0).batch is None


def test_nothing_waits_when_closing():
    batcher, entries = filled(PATIENT, 1)
    batcher.is_closing = True
    assert ran(batcher.next(0)) == entries


def test_requests_of_other_shapes_do_not_join_and_take_turns():
    batcher: Batcher[Entry] = Batcher(GREEDY, LatencyTables())
    entries = [Entry(signature, 1) for signature in "abab"]
    for entry in entries:
        batcher.add(entry, 0)
    assert [ran(batcher.next(0)) for _ in range(2)] == [entries[::2], entries[1::2]]


def test_with_preserved_order_no_shape_overtakes_another():
    batcher: Batcher[Entry] = Batcher(replace(GREEDY, preserve_ordering=True), LatencyTables())
    entries = [Entry(signature, 1) for signature in "aaba"]
    for entry in entries:
        batcher.add(entry, 0)
    assert [ran(batcher.next(0)) for _ in range(3)] == [entries[:2], entries[2:3], entries[3:]]


def test_higher_priorities_go_first_and_lower_ones_fill_the_batch():
    batcher: Batcher[Entry] = Batcher(
        replace(GREEDY, max_batch_size=2, priority_levels=3, default_priority=2), LatencyTables()
    )
    third, default, first = Entry("a", 1), Entry("a", 1), Entry("a", 1)
    for entry, priority in ((third, 3), (default, 0), (first, 1)):
        batcher.add(entry, 0, priority)
    assert ran(batcher.next(0)) == [first, default]
    assert ran(batcher.next(0)) == [third]


def test_a_group_that_is_held_back_for_others_lets_lower_priorities_run():
    batcher: Batcher[Entry] = Batcher(replace(PATIENT, max_batch_size=2, priority_levels=2), LatencyTables())
    held, low = Entry("a", 1), [Entry("b", 1), Entry("b", 1)]
    batcher.add(held, 0, 1)
    for entry in low:
        batcher.add(entry, 0, 2)
    assert ran(batcher.next(0)) == low
    assert batcher.next(0).wait_until_ns == 5 * MS


def test_a_request_that_waits_too_long_is_rejected_exactly_when_its_time_is_over():
    batcher, entries = filled(replace(GREEDY, default_policy=QueuePolicy(timeout_us=1000)), 1)
    assert batcher.next(MS - 1, can_run=False) == Answer(None, MS, [])
    (refusal,) = batcher.next(MS).refused
    assert refusal.entry is entries[0]
    assert (refusal.error.reason, refusal.error.message) == (Reason.EXPIRED, "Request timeout expired")
    assert batcher.waiting == 0


def test_a_delayed_request_runs_after_the_others_of_its_priority():
    policy = QueuePolicy(timeout_us=1000, is_delayed=True)
    batcher, entries = filled(replace(GREEDY, max_batch_size=2, default_policy=policy), 1)
    later = [Entry("a", 1), Entry("a", 1)]
    for entry in later:
        batcher.add(entry, MS // 2)
    assert ran(batcher.next(MS)) == later
    assert ran(batcher.next(MS)) == entries


@pytest.mark.parametrize(("may_override", "asked_us", "lasts_us"), [(False, 10, 100), (True, 10, 10), (True, 500, 100)])
def test_a_requests_own_timeout_counts_when_it_may_and_is_shorter(may_override: bool, asked_us: int, lasts_us: int):
    policy = QueuePolicy(timeout_us=100, allow_override=may_override)
    batcher: Batcher[Entry] = Batcher(replace(GREEDY, default_policy=policy), LatencyTables())
    batcher.add(Entry("a", 1), 0, timeout_us=asked_us)
    assert batcher.next(0, can_run=False).wait_until_ns == lasts_us * 1000


def test_a_full_queue_says_when_to_come_back():
    options = replace(GREEDY, default_policy=QueuePolicy(max_queue_size=2))
    batcher, _ = filled(options, 8, 8, tables=tables_of({1: 10 * MS, 8: 40 * MS}))
    error = batcher.add(Entry("a", 1), 0)
    assert error is not None
    assert (error.reason, error.message) == (Reason.OVERLOADED, "Exceeds maximum queue size")
    assert error.retry_after_s == pytest.approx(0.090)  # two batches of 8, and the request itself


def test_the_queue_of_one_priority_does_not_fill_anothers():
    options = replace(GREEDY, priority_levels=2, policies={2: QueuePolicy(max_queue_size=1)})
    batcher: Batcher[Entry] = Batcher(options, LatencyTables())
    errors = [batcher.add(Entry("a", 1), 0, priority) for priority in (2, 2, 1, 1)]
    assert [e is None for e in errors] == [True, False, True, True]


def test_a_deadline_that_cannot_be_met_is_refused_on_arrival():
    batcher, _ = filled(GREEDY, 8, 8, tables=tables_of({1: 10 * MS, 8: 40 * MS}))
    assert batcher.add(Entry("a", 1, deadline_ns=91 * MS), 0) is None
    error = batcher.add(Entry("a", 1, deadline_ns=89 * MS), 0)
    assert error is not None
    assert error.reason is Reason.DEADLINE
    assert "takes 10 ms itself" in error.message
    assert error.retry_after_s is not None


def test_a_deadline_that_can_no_longer_be_met_is_refused_before_it_runs():
    batcher: Batcher[Entry] = Batcher(GREEDY, tables_of({1: 10 * MS}))
    hopeless, fine = Entry("a", 1, deadline_ns=15 * MS), Entry("a", 1)
    batcher.add(hopeless, 0)
    batcher.add(fine, 0)
    answer = batcher.next(6 * MS)
    assert [r.entry for r in answer.refused] == [hopeless]
    assert ran(answer) == [fine]


def test_lower_priorities_run_when_all_higher_ones_were_refused():
    batcher: Batcher[Entry] = Batcher(replace(GREEDY, priority_levels=2), tables_of({1: 10 * MS}))
    hopeless, fine = Entry("a", 1, deadline_ns=15 * MS), Entry("b", 1)
    batcher.add(hopeless, 0, 1)
    batcher.add(fine, 0, 2)
    answer = batcher.next(6 * MS)
    assert (ran(answer), [r.entry for r in answer.refused]) == ([fine], [hopeless])


def test_a_table_from_bad_times_does_not_refuse_for_ever():
    batcher: Batcher[Entry] = Batcher(GREEDY, tables_of({1: 100 * MS}))
    refused = 0
    while batcher.add(Entry("a", 1, deadline_ns=50 * MS), 0) is not None:
        refused += 1
    assert 10 < refused < 100


def test_a_deadline_that_passes_in_the_queue_is_told_though_all_instances_are_busy():
    batcher: Batcher[Entry] = Batcher(GREEDY, LatencyTables())
    entry = Entry("a", 1, deadline_ns=7 * MS)
    batcher.add(entry, 0)
    assert batcher.next(0, can_run=False).wait_until_ns == 7 * MS
    assert [r.error.reason for r in batcher.next(7 * MS, can_run=False).refused] == [Reason.DEADLINE]


def test_a_batch_is_kept_small_so_that_the_most_urgent_request_meets_its_deadline():
    tables = tables_of({1: 10 * MS, 8: 40 * MS})
    batcher: Batcher[Entry] = Batcher(GREEDY, tables)
    urgent, others = Entry("a", 1, deadline_ns=25 * MS), [Entry("a", 1) for _ in range(7)]
    for entry in (urgent, *others):
        batcher.add(entry, 0)
    answer = batcher.next(0)
    assert answer.batch is not None
    assert answer.batch.why is Why.KEPT_SMALL
    assert urgent in answer.batch.entries
    assert (
        tables.of("a").estimate_ns(answer.batch.items) <= 25 * MS < tables.of("a").estimate_ns(answer.batch.items + 1)
    )


def test_the_models_own_target_keeps_batches_small_but_refuses_nobody():
    tables = tables_of({1: 10 * MS, 8: 40 * MS})
    batcher, entries = filled(replace(GREEDY, target_ns=25 * MS), *[1] * 8, tables=tables)
    in_time, late = batcher.next(0), batcher.next(30 * MS)
    assert len(ran(in_time)) == 4
    assert (ran(late), late.refused) == (entries[4:], [])


def test_waiting_for_others_ends_before_a_deadline_is_missed():
    batcher: Batcher[Entry] = Batcher(replace(PATIENT, max_queue_delay_ns=50 * MS), tables_of({1: 10 * MS, 8: 11 * MS}))
    batcher.add(Entry("a", 1, deadline_ns=30 * MS), 0)
    wait_until_ns = batcher.next(0).wait_until_ns
    assert wait_until_ns is not None
    assert 0 < wait_until_ns < 20 * MS
    answer = batcher.next(wait_until_ns)
    assert answer.batch is not None
    assert answer.batch.why is Why.DUE


def test_waiting_for_others_does_not_let_a_request_expire():
    options = replace(PATIENT, default_policy=QueuePolicy(timeout_us=2000))
    batcher, entries = filled(options, 1)
    wait_until_ns = batcher.next(0).wait_until_ns
    assert wait_until_ns is not None
    assert 0 < wait_until_ns < 2 * MS
    assert ran(batcher.next(wait_until_ns)) == entries


def test_nothing_waits_for_a_batch_that_is_no_faster_per_item():
    batcher, entries = filled(PATIENT, 1, tables=tables_of({1: 10 * MS, 2: 20 * MS, 8: 80 * MS}))
    answer = batcher.next(0)
    assert ran(answer) == entries
    assert answer.batch is not None
    assert answer.batch.why is Why.NO_GAIN


def test_sizes_that_are_slower_per_item_are_not_taken():
    batcher, entries = filled(GREEDY, *[1] * 8, tables=tables_of({1: 10 * MS, 4: 20 * MS, 8: 80 * MS}))
    assert ran(batcher.next(0)) == entries[:4]


def test_a_cancelled_request_is_gone():
    batcher, entries = filled(GREEDY, 1, 1)
    assert batcher.cancel(entries[0])
    assert not batcher.cancel(entries[0])
    assert ran(batcher.next(0)) == entries[1:]
    assert not batcher.cancel(entries[1])


def test_timers_of_requests_that_are_gone_are_not_kept():
    batcher: Batcher[Entry] = Batcher(GREEDY, LatencyTables())
    for i in range(1000):
        batcher.add(Entry("a", 1, deadline_ns=10**15), i)
        batcher.next(i)
    assert len(batcher._timers) < 100


POLICIES = st.builds(
    QueuePolicy,
    timeout_us=st.sampled_from([0, 1, 20]),
    is_delayed=st.booleans(),
    allow_override=st.booleans(),
    max_queue_size=st.sampled_from([0, 0, 3]),
)
OPTIONS = st.builds(
    BatchOptions,
    is_batching=st.booleans(),
    max_batch_size=st.integers(1, 6).map(lambda n: n + 2),
    max_queue_delay_ns=st.sampled_from([0, 5_000, 40_000]),
    preferred_batch_sizes=st.frozensets(st.integers(1, 3), max_size=2),
    preserve_ordering=st.booleans(),
    priority_levels=st.just(3),
    default_priority=st.integers(1, 3),
    default_policy=POLICIES,
    policies=st.dictionaries(st.integers(1, 3), POLICIES, max_size=2),
    target_ns=st.sampled_from([None, 30_000]),
)
ARRIVALS = st.builds(
    lambda signature, items, priority, timeout_us, deadline_us: (
        "add",
        signature,
        items,
        priority,
        timeout_us,
        deadline_us,
    ),
    st.sampled_from("aab"),
    st.integers(1, 3),
    st.integers(0, 3),
    st.sampled_from([0, 0, 5]),
    st.sampled_from([None, None, 3, 50]),
)
EVENTS = st.one_of(
    ARRIVALS,
    st.tuples(st.just("cancel"), st.integers(0, 40)),
    st.tuples(st.just("next"), st.booleans()),
    st.tuples(st.just("pass"), st.integers(1, 30_000)),
)
TABLES = st.dictionaries(st.integers(1, 8), st.integers(100, 60_000), max_size=3)


class Story:
    """Plays events against a batcher and notes what becomes of each request."""

    def __init__(self, options: BatchOptions, ns_by_size: dict[int, int]) -> None:
        self.options = options
        self.tables = tables_of(ns_by_size)
        self.batcher: Batcher[Entry] = Batcher(options, self.tables)
        self.now_ns = 0
        self.accepted: list[Entry] = []
        self.ended: dict[Entry, str] = {}
        self.batches: list[list[Entry]] = []

    def play(self, event: tuple[object, ...]) -> None:
        match event:
            case ("add", str(signature), int(items), int(priority), int(timeout_us), deadline_us):
                deadline_ns = self.now_ns + deadline_us * 1000 if isinstance(deadline_us, int) else None
                self.add(Entry(signature, items, deadline_ns), priority, timeout_us)
            case ("cancel", int(number)):
                if number < len(self.accepted) and self.batcher.cancel(self.accepted[number]):
                    self.end(self.accepted[number], "cancelled")
            case ("next", bool(can_run)):
                self.ask(can_run)
            case ("pass", int(ns)):
                self.now_ns += ns

    def add(self, entry: Entry, priority: int, timeout_us: int) -> None:
        if self.batcher.add(entry, self.now_ns, priority, timeout_us) is None:
            self.accepted.append(entry)

    def ask(self, can_run: bool) -> Answer[Entry]:
        done_ns = {e: self.now_ns + self.tables.of(e.signature).estimate_ns(e.items) for e in self.accepted}
        answer = self.batcher.next(self.now_ns, can_run)
        for entry, error in answer.refused:
            self.end(entry, error.reason.value)
            self.check_refusal(entry, error.reason, done_ns[entry])
        if answer.batch is not None:
            assert can_run
            self.check_batch(answer.batch.entries, answer.batch.items)
            self.batches.append(answer.batch.entries)
            for entry in answer.batch.entries:
                self.end(entry, "ran")
        elif answer.wait_until_ns is not None:
            assert answer.wait_until_ns > self.now_ns
        return answer

    def end(self, entry: Entry, how: str) -> None:
        assert entry not in self.ended
        assert not entry.is_waiting
        self.ended[entry] = how

    def check_refusal(self, entry: Entry, reason: Reason, done_ns: float) -> None:
        if reason is Reason.EXPIRED:
            assert entry.expires_ns is not None
            assert entry.expires_ns <= self.now_ns
        else:
            assert reason is Reason.DEADLINE
            assert entry.deadline_ns is not None
            assert done_ns >= entry.deadline_ns

    def check_batch(self, entries: list[Entry], items: int) -> None:
        assert items == sum(e.items for e in entries) <= self.options.max_batch_size
        assert len({e.signature for e in entries}) == 1
        assert self.options.is_batching or len(entries) == 1
        assert [e.order for e in entries] == sorted(e.order for e in entries)
        table = self.tables.of(entries[0].signature)
        for entry in entries:
            assert entry.deadline_ns is None or self.now_ns + table.estimate_ns(items) <= entry.deadline_ns
        for other in self.accepted:  # nobody of the same kind or of higher priority was passed over
            if other.is_waiting and (other.signature == entries[0].signature or self.options.preserve_ordering):
                assert other.order > entries[-1].order
            if other.is_waiting and not self.options.max_queue_delay_ns:
                assert other.order[0] >= entries[0].order[0]

    def finish(self) -> None:
        """With an instance free, everything that waits is over within its delay."""
        for _ in range(10 * len(self.accepted) + 10):
            answer = self.ask(can_run=True)
            if answer.batch is None:
                if answer.wait_until_ns is None:
                    break
                oldest_ns = min((e.queued_ns for e in self.accepted if e.is_waiting), default=None)
                assert oldest_ns is None or answer.wait_until_ns <= oldest_ns + self.options.max_queue_delay_ns
                self.now_ns = answer.wait_until_ns
        assert self.batcher.waiting == 0
        assert set(self.ended) == set(self.accepted)


@settings(max_examples=400, deadline=None)
@given(OPTIONS, TABLES, st.lists(EVENTS, max_size=60))
def test_every_request_ends_once_in_order_and_within_limits(
    options: BatchOptions, ns_by_size: dict[int, int], events: list[tuple[object, ...]]
):
    options = replace(
        options, preferred_batch_sizes=options.preferred_batch_sizes if options.is_batching else frozenset()
    )
    story = Story(options, ns_by_size)
    for event in events:
        story.play(event)
    story.finish()


@settings(max_examples=200, deadline=None)
@given(OPTIONS, st.lists(ARRIVALS, max_size=40))
def test_no_queue_is_longer_than_its_policy_allows(options: BatchOptions, arrivals: list[tuple[object, ...]]):
    story = Story(options, {})
    for arrival in arrivals:
        story.play(arrival)
        for level in range(1, options.priority_levels + 1):
            most = options.policy_of(level).max_queue_size
            assert not most or sum(e.order[0] == level for e in story.accepted) <= most


@settings(max_examples=300, deadline=None)
@given(OPTIONS, TABLES, st.lists(ARRIVALS, max_size=20))
def test_when_a_request_needs_no_look_the_answer_stays(
    options: BatchOptions, ns_by_size: dict[int, int], arrivals: list[tuple[object, ...]]
):
    story = Story(options, ns_by_size)
    before: Answer[Entry] | None = None
    for arrival in arrivals:
        count = len(story.accepted)
        story.play(arrival)
        needs_look = len(story.accepted) > count and story.batcher.acts_on(story.accepted[-1])
        answer = story.ask(can_run=True)
        if not needs_look and before is not None and before.batch is None:
            assert answer.batch is None
            assert answer.wait_until_ns == before.wait_until_ns
        before = answer
