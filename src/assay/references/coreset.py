"""Few patches that stand for many: greedy k-centre (Gonzalez 1985), as PatchCore uses it.

Each next centre is the patch farthest from those chosen, so nothing that genuine photographs show stays far from the
bank. On unit vectors the farthest patch is the one whose largest cosine to a centre is smallest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from assay.vision.lens import Floats

Rows = NDArray[np.intp]

BANK_ROWS = 2048  # at most, of one view
MOST_CANDIDATES = 8192  # patches that a bank is chosen from, all photographs together
FEWEST_CANDIDATES, ENOUGH_CANDIDATES = 64, 400  # of one photograph; neighbouring patches see much the same
_SAME = np.float32(1 - 1e-6)  # a cosine from which two patches are one
_HERE = (
    1 << 18
)  # multiplications of a product that OpenBLAS runs without waking threads, which cost more than they give
_NONE = -1  # of a pool that has no other patches left


def candidates(patches: Floats, photos: int) -> Rows:
    """Rows of one photograph's patches [n, features] that stand for it in banks made from ``photos`` of them."""
    most = int(np.clip(MOST_CANDIDATES // photos, FEWEST_CANDIDATES, ENOUGH_CANDIDATES))
    return coresets(patches, [np.arange(len(patches))], most)[0]


def coresets(patches: Floats, pools: Sequence[Rows], most: int) -> list[Rows]:
    """For each pool of rows of ``patches`` [n, features], unit vectors, at most ``most`` of its rows, in the order in
    which they were chosen. The pools are gone through together: a step is one matrix product for all of them."""
    assert all(len(pool) for pool in pools), "an empty pool"
    columns = np.ascontiguousarray(patches.T)
    closeness = np.full((len(pools), len(patches)), np.inf, np.float32)  # largest cosine to a centre; inf: not in it
    for number, pool in enumerate(pools):
        closeness[number, pool] = -1.0
    cosines = np.empty_like(closeness)
    latest = np.array([_most_typical(patches, pool) for pool in pools])
    chosen = [latest]
    while len(chosen) < most:
        _multiply(patches[latest], columns, cosines)
        np.maximum(closeness, cosines, out=closeness)
        latest = closeness.argmin(axis=1)
        is_new = closeness.min(axis=1) < _SAME
        if not is_new.any():
            break
        chosen.append(np.where(is_new, latest, _NONE))
    return [row[row != _NONE] for row in np.stack(chosen, axis=1)]


def _multiply(centres: Floats, columns: Floats, products: Floats) -> None:
    """``centres`` [pools, features] by ``columns`` [features, n], on this thread."""
    width = max(1, _HERE // centres.size)
    for start in range(0, columns.shape[1], width):
        part = slice(start, start + width)
        np.matmul(centres, columns[:, part], out=products[:, part])


def _most_typical(patches: Floats, pool: Rows) -> int:
    """The row nearest to the pool's mean: a start that the order of photographs does not change."""
    members = patches[pool]
    return int(pool[np.argmax(members @ members.mean(axis=0))])
