"""Whether heat maps show what the score rests on: take the hottest places of an altered photograph back, score again.

The generator draws the same item before it was altered, by the same camera; its pixels take the place of some of the
altered photograph's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.imaging.uploads import Limits, read_upload
from assay.references.snapshot import Snapshot
from assay.settings import Settings
from assay.views import View
from assay.vision.lens import SIDE, Pixels
from benchmarks.assay.drawn_cases import DrawnItem, defects_of
from benchmarks.assay.product_scores import Batch, Instruments, enrolled

TAKEN_BACK = 0.1  # of the photograph
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Repair:
    """Compare scores of one altered photograph: as it is, before it was altered, and with a tenth of it taken back."""

    altered: float
    genuine: float
    hottest: float  # where the map is hottest
    elsewhere: float  # as large an area of the same shape, half the photograph away


def repairs(its: Instruments, batch: Batch) -> list[Repair]:
    snapshot = enrolled(its, batch.claimed_style)
    return [
        _repair(its, snapshot, view, _pixels(its, item, view), _pixels(its, replace(item, strength=0.0), view))
        for item in batch.items
        for view in defects_of(its.drawn, item)
    ]


def _pixels(its: Instruments, item: DrawnItem, view: View) -> Pixels:
    content = (its.drawn / item.folder / f"{view.value}.jpg").read_bytes()
    return read_upload(content, Limits.of(Settings(its.drawn))).pixels


def _repair(its: Instruments, snapshot: Snapshot, view: View, altered: Pixels, genuine: Pixels) -> Repair:
    bank = snapshot.views[view].bank

    def compared(photos: Sequence[Pixels]) -> list[tuple[float, NDArray[np.float32]]]:
        looked = its.loop.run_until_complete(its.lens.look(photos))
        found = (its.comparer.compare(features.patches, bank) for features in looked)
        return [(comparison.score, comparison.distance_map) for comparison in found]

    (before, distances), (after, _) = compared([altered, genuine])
    hot = hottest_share(distances, TAKEN_BACK)
    away = np.roll(hot, (SIDE // 2, SIDE // 2), axis=(0, 1))
    (hottest, _), (elsewhere, _) = compared([np.where(mask[..., None], genuine, altered) for mask in (hot, away)])
    return Repair(before, after, hottest, elsewhere)


def hottest_share(distances: NDArray[np.float32], share: float) -> Mask:
    return distances >= np.quantile(distances, 1 - share)


def write(file: Path, found: Sequence[Repair]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([asdict(repair) for repair in found]))


def read(file: Path) -> list[Repair]:
    return [Repair(**document) for document in json.loads(file.read_text())]


def taken_away(found: Sequence[Repair], name: str) -> float:
    """The share of what altering added to the scores that goes with the area named."""
    added = sum(repair.altered - repair.genuine for repair in found)
    left = sum(getattr(repair, name) - repair.genuine for repair in found)
    return 1 - left / added
