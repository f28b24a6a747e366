"""The compare network as an engine, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from assay.networks.compare import COMPARE_OUTPUTS, SHARPNESS, smoothing_kernel
from fusee import Engine

RANDOM = np.random.default_rng(11)


def unit_rows(*shape: int) -> np.ndarray:
    rows = RANDOM.standard_normal(shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


PATCHES, BANK = unit_rows(13, 1600, 64), unit_rows(2048, 64)


def test_what_it_computes(compare_engine: Engine):
    found = compare_engine.run({"patches": PATCHES[:2], "bank": BANK[:700]})

    cosines = PATCHES[:2].astype(np.float64) @ BANK[:700].T
    np.testing.assert_array_equal(found["nearest"], cosines.argmax(-1))
    grid = np.pad(1 - cosines.max(-1).reshape(2, 40, 40), ((0, 0), (2, 2), (2, 2)), mode="edge")
    kernel = smoothing_kernel()[0, 0]
    smooth = sum(kernel[y, x] * grid[:, y : y + 40, x : x + 40] for y in range(5) for x in range(5))
    weights = np.exp(SHARPNESS * smooth)
    np.testing.assert_allclose(found["score"], (smooth * weights).sum((1, 2)) / weights.sum((1, 2)), rtol=1e-4)
    centres = (found["distance_map"][:, 3::8, 3::8] + found["distance_map"][:, 4::8, 4::8]) / 2
    np.testing.assert_allclose(centres, smooth, atol=0.02)


def test_a_photo_compared_with_itself_has_no_distance(compare_engine: Engine):
    found = compare_engine.run({"patches": PATCHES[:1], "bank": PATCHES[0]})

    np.testing.assert_allclose(found["distance_map"], 0, atol=1e-5)
    np.testing.assert_array_equal(found["nearest"][0], np.arange(1600))


def test_one_strange_place_is_where_the_map_peaks(compare_engine: Engine):
    patches = BANK[RANDOM.integers(0, 2048, 1600)].reshape(1, 1600, 64).copy()
    usual = compare_engine.run({"patches": patches, "bank": BANK})
    patches[0, [10 * 40 + 30, 10 * 40 + 31, 11 * 40 + 30, 11 * 40 + 31]] *= -1
    found = compare_engine.run({"patches": patches, "bank": BANK})

    y, x = np.unravel_index(found["distance_map"][0].argmax(), (320, 320))
    assert (y // 8, x // 8) in {(10, 30), (10, 31), (11, 30), (11, 31)}
    assert found["score"][0] > usual["score"][0] + 0.1


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [6, 13])
def test_a_photo_gives_the_same_bits_in_any_batch_with_any_threads(compare_engine: Engine, threads: int, batch: int):
    alone = compare_engine.session(threads=1)
    together = compare_engine.session(threads=threads).run({"patches": PATCHES[:batch], "bank": BANK})
    together = {name: value.copy() for name, value in together.items()}

    for place in range(batch):
        found = alone.run({"patches": PATCHES[place : place + 1], "bank": BANK})
        for name in COMPARE_OUTPUTS:
            assert together[name][place].tobytes() == found[name][0].tobytes(), (name, place)
