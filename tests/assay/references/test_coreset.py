"""Greedy k-centre against its definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.assay.references.making import unit_rows

from assay.references.coreset import ENOUGH_CANDIDATES, FEWEST_CANDIDATES, Rows, candidates, coresets
from assay.vision.lens import PATCH_FEATURES, Floats

ROUNDING = 1e-5


def assert_greedy(patches: Floats, pool: Rows, chosen: Rows, most: int) -> None:
    """Each row, but for rounding, is the one of the pool that was farthest from those before it."""
    members = patches[pool].astype(np.float64)
    typical = members @ members.mean(axis=0)
    places = [pool.tolist().index(row) for row in chosen]
    assert len(set(places)) == len(places) == min(most, len(pool))
    assert typical[places[0]] >= typical.max() - ROUNDING
    for count in range(1, len(places)):
        nearest = (members @ members[places[:count]].T).max(axis=1)
        assert nearest[places[count]] <= nearest.min() + ROUNDING


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 40))
def test_each_next_centre_is_the_farthest_patch(seed: int, count: int, most: int) -> None:
    random = np.random.default_rng(seed)
    patches = unit_rows(random, count, PATCH_FEATURES)
    pools = [np.arange(count), np.sort(random.permutation(count)[: 1 + count // 2])]
    for pool, chosen in zip(pools, coresets(patches, pools, most), strict=True):
        assert_greedy(patches, pool, chosen, most)


def test_repeated_patches_are_chosen_once() -> None:
    patches = np.repeat(unit_rows(np.random.default_rng(1), 5, PATCH_FEATURES), 10, axis=0)
    chosen = coresets(patches, [np.arange(50), np.arange(20)], 40)
    assert sorted(chosen[0] // 10) == [0, 1, 2, 3, 4]
    assert sorted(chosen[1] // 10) == [0, 1]


def test_a_photograph_gives_fewer_candidates_the_more_there_are() -> None:
    patches = unit_rows(np.random.default_rng(2), 1600, PATCH_FEATURES)
    assert len(candidates(patches, 4)) == ENOUGH_CANDIDATES
    assert len(candidates(patches, 64)) == 128
    assert len(candidates(patches, 10_000)) == FEWEST_CANDIDATES
