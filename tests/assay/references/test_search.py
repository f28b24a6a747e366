"""The matrix product against measuring every distance."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.assay.references.making import unit_rows

from assay.references.search import nearest_rows
from assay.vision.lens import EMBEDDING


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 200), st.integers(1, 12), st.floats(1e-8, 1.0))
def test_finds_what_measuring_every_distance_finds(seed: int, count: int, most: int, noise: float) -> None:
    random = np.random.default_rng(seed)
    query = unit_rows(random, 1, EMBEDDING)[0]
    rows = query + noise * unit_rows(random, count, EMBEDDING)  # all of them near: rounding matters most there
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    distances = np.linalg.norm(rows.astype(np.float64) - query, axis=1)
    order = np.lexsort((np.arange(count), distances))[:most]
    found = nearest_rows(rows, [query], most)[0]
    assert [hit.row for hit in found] == order.tolist()
    np.testing.assert_array_equal([hit.distance for hit in found], distances[order])


def test_of_equally_near_ones_the_first_comes_first() -> None:
    row = unit_rows(np.random.default_rng(4), 1, EMBEDDING)
    found = nearest_rows(np.repeat(row, 6, axis=0), [row[0]], 4)[0]
    assert [hit.row for hit in found] == [0, 1, 2, 3]
