"""The latency table follows what is observed, shrugs off outliers, and knows which sizes pay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusee.server.scheduling.latency import BATCH_NS, MAX_TABLES, LatencyTable, LatencyTables


def table_of(ns_by_size: dict[int, float]) -> LatencyTable:
    table = LatencyTable()
    for size, ns in ns_by_size.items():
        table.observe(size, ns)
    return table


def test_nothing_is_known_before_anything_ran():
    table = LatencyTable()
    assert table.estimate_ns(4) == 0.0
    assert table.efficient_size(4) == 4
    assert table.gains(1, 4)


def test_between_measured_sizes_it_interpolates():
    table = table_of({2: 100.0, 6: 300.0})
    assert [table.estimate_ns(n) for n in (1, 2, 4, 6, 12)] == [100.0, 100.0, 200.0, 300.0, 600.0]


def test_one_outlier_moves_a_figure_by_a_sixteenth():
    table = table_of({1: 160.0})
    table.observe(1, 1e9)
    assert table.estimate_ns(1) == 170.0


def test_a_figure_that_refuses_requests_shrinks_until_one_runs():
    table = table_of({1: 1000.0, 8: 1000.0, 16: 1000.0})
    for _ in range(64):
        table.doubt(4)
    assert table.estimate_ns(4) < 400.0
    assert table.estimate_ns(16) == 1000.0


def test_figures_follow_a_change_that_lasts():
    table = table_of({1: 100.0})
    for _ in range(40):
        table.observe(1, 300.0)
    assert table.estimate_ns(1) == 300.0


def test_a_machine_that_gets_slower_does_not_make_other_sizes_look_better():
    table = table_of({1: 10e6, 2: 20e6, 16: 160e6})
    for _ in range(40):
        table.observe(1, 13e6)
    assert table.efficient_size(16) == 1


def test_sizes_find_their_own_figures():
    table = table_of({1: 10e6, 8: 20e6})
    for _ in range(200):
        table.observe(1, 10e6)
        table.observe(8, 80e6)
    assert table.estimate_ns(1) == pytest.approx(10e6, rel=0.1)
    assert table.estimate_ns(8) == pytest.approx(80e6, rel=0.1)


@pytest.mark.parametrize(
    ("ms_by_size", "efficient"),
    [
        ({1: 10.0, 8: 20.0}, 8),  # batches pay
        ({1: 10.0, 8: 80.0}, 1),  # flat: a batch would only keep its first requests waiting for its last
        ({1: 0.001, 8: 0.008}, 8),  # flat, but so short that handing batches over is what costs
        ({1: 10.0, 4: 20.0, 8: 80.0}, 4),  # the largest falls out of some cache
        ({1: 10.0, 8: 200.0}, 1),
    ],
)
def test_the_efficient_size(ms_by_size: dict[int, float], efficient: int):
    assert table_of({size: ms * 1e6 for size, ms in ms_by_size.items()}).efficient_size(8) == efficient


def test_batches_gain_only_where_items_get_clearly_cheaper():
    assert table_of({1: 10.0, 8: 20.0}).gains(1, 8)
    assert not table_of({1: 10.0, 8: 79.0}).gains(1, 8)
    assert not table_of({1: 10.0, 8: 20.0}).gains(8, 8)


@given(st.dictionaries(st.integers(1, 64), st.floats(1.0, 1e9), min_size=1), st.integers(1, 64))
def test_the_efficient_size_is_within_the_limit_and_about_the_best(ns_by_size: dict[int, float], limit: int):
    table = table_of(ns_by_size)
    efficient = table.efficient_size(limit)
    assert 1 <= efficient <= limit
    cost_ns = (table.estimate_ns(efficient) + BATCH_NS) / efficient
    sizes = {n for n in ns_by_size if n <= limit} | {limit}
    assert all(cost_ns * 0.9 <= (table.estimate_ns(n) + BATCH_NS) / n * (1 + 1e-9) for n in sizes)


def test_tables_used_long_ago_are_forgotten():
    tables = LatencyTables()
    for i in range(MAX_TABLES):
        tables.of(i).observe(1, 5.0)
    tables.of(0)
    tables.of("one more")
    kept = dict(tables.items())
    assert len(kept) == MAX_TABLES
    assert 0 in kept
    assert 1 not in kept
