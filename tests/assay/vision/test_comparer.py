"""Patches against a bank."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from assay.errors import Refusal
from assay.vision import Comparer
from assay.vision.engines import COMPARE, identity_of
from assay.vision.lens import PATCH_FEATURES, PATCHES, SIDE, Floats

pytestmark = pytest.mark.runs_alone


@pytest.fixture(scope="module")
def comparer(packed_engines: Path) -> Iterator[Comparer]:
    made = Comparer(packed_engines)
    yield made
    made.close()


def unit_rows(count: int, seed: int) -> Floats:
    rows = np.random.default_rng(seed).standard_normal((count, PATCH_FEATURES)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_finds_the_nearest_row_of_each_patch(comparer: Comparer) -> None:
    patches, bank = unit_rows(PATCHES, 1), unit_rows(70, 2)
    found = comparer.compare(patches, bank)
    np.testing.assert_array_equal(found.nearest, (patches @ bank.T).argmax(axis=1))
    assert found.distance_map.shape == (SIDE, SIDE)
    assert found.distance_map.min() <= found.score <= found.distance_map.max() + 1e-6


def test_patches_of_the_bank_itself_are_no_distance_away(comparer: Comparer) -> None:
    patches = unit_rows(PATCHES, 3)
    assert abs(comparer.compare(patches, patches).score) < 1e-5


def test_many_threads_get_what_one_gets(comparer: Comparer) -> None:
    cases = [(unit_rows(PATCHES, seed), unit_rows(30 + seed, seed + 100)) for seed in range(8)]
    alone = [comparer.compare(*case) for case in cases]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda case: comparer.compare(*case), cases))
    for one, other in zip(alone, together, strict=True):
        assert one.score == other.score
        np.testing.assert_array_equal(one.distance_map, other.distance_map)


def test_knows_which_engine_answers(comparer: Comparer, packed_engines: Path) -> None:
    assert comparer.identity == identity_of(packed_engines, COMPARE)


def test_needs_its_engine(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="assay pack"):
        Comparer(tmp_path)
