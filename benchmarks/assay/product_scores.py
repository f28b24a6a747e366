"""Cases through Assay itself: the same reading, gate, engines, references and scoring as those of a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from assay.imaging.gate import gate, measure
from assay.imaging.uploads import Limits, read_upload
from assay.judging import gates
from assay.judging.metrics import pointing_hit
from assay.judging.scoring import CaseScore, score_case
from assay.references.enrolment import EnrolmentPhoto, enrol
from assay.references.files import FileReferences
from assay.references.snapshot import Neighbour, Snapshot
from assay.settings import Settings
from assay.views import VIEWS, View
from assay.vision.comparer import Comparer
from assay.vision.lens import GRID, SIDE, Comparison, Features
from assay.vision.local import LocalLens
from benchmarks.assay.drawn_cases import (
    REFERENCES,
    DrawnItem,
    Kind,
    altered_pixels,
    defects_of,
    items_of,
    photos_of,
)
from benchmarks.assay.networks import Home
from benchmarks.assay.records import CaseRecord, PhotoRecord

NEIGHBOURS = 5  # of any model, looked at for each photograph, as a worker does
PATCH_PX = SIDE // GRID
ENROLLED_AT = datetime(2026, 1, 1, tzinfo=UTC)  # the same references have the same digest on any day
Mask = NDArray[np.bool_]


class Seen(NamedTuple):
    """One item's photographs, after the gate and the photo engine."""

    features: Mapping[View, Features]
    faults: Mapping[View, tuple[str, ...]]


@dataclass(frozen=True)
class Instruments:
    """What one process works with."""

    drawn: Path
    lens: LocalLens
    comparer: Comparer
    references: FileReferences
    loop: asyncio.AbstractEventLoop

    def close(self) -> None:
        self.loop.run_until_complete(self.lens.close())
        self.loop.close()
        self.comparer.close()


def instruments(drawn: Path, home: Home) -> Instruments:
    """Opened, with a loop of their own that nobody else runs."""
    loop = asyncio.new_event_loop()
    lens = LocalLens(home.engines, threads=1)
    loop.run_until_complete(lens.open())
    return Instruments(drawn, lens, Comparer(home.engines, threads=1), FileReferences(home.references), loop)


def enrol_style(its: Instruments, style_seed: int) -> Snapshot:
    items = items_of(style_seed, Kind.REFERENCE, REFERENCES)
    photos = [
        EnrolmentPhoto(item.folder, view, content)
        for item in items
        for view, content in photos_of(its.drawn, item).items()
    ]
    enrolling = enrol(items[0].claim, photos, its.lens, its.comparer, its.references, lambda: ENROLLED_AT)
    return its.loop.run_until_complete(enrolling)


class Batch(NamedTuple):
    """Items of one style, submitted as that style or as another, and the file that their records go to."""

    items: tuple[DrawnItem, ...]
    claimed_style: int
    file: Path


def enrolled(its: Instruments, style_seed: int) -> Snapshot:
    claim = DrawnItem(style_seed, Kind.REFERENCE, 0).claim
    snapshot = its.references.latest(claim)
    assert snapshot is not None, f"{claim} is not enrolled"
    return snapshot


def score_batch(its: Instruments, batch: Batch) -> list[CaseRecord]:
    snapshot = enrolled(its, batch.claimed_style)
    return [_score_item(its, item, batch, snapshot) for item in batch.items]


def _score_item(its: Instruments, item: DrawnItem, batch: Batch, snapshot: Snapshot) -> CaseRecord:
    seen = look(its, photos_of(its.drawn, item))
    comparisons = {v: its.comparer.compare(seen.features[v].patches, snapshot.views[v].bank) for v in VIEWS}
    scored = score_case(snapshot, seen.features, comparisons)
    nearest = {
        v: its.references.nearest(v, [f.embedding], NEIGHBOURS + REFERENCES)[0] for v, f in seen.features.items()
    }
    defects = defects_of(its.drawn, item)
    photos = tuple(
        PhotoRecord(
            view=view.value,
            defects=tuple(defect.value for defect in defects.get(view, ())),
            faults=seen.faults[view],
            one_class=judged.one_class,
            metric=judged.metric,
            **(_pointing(its, item, view, comparisons[view]) if view in defects else {}),
        )
        for view, judged in scored.views.items()
    )
    strangers = {v: [n for n in found if n.claim != item.claim] for v, found in nearest.items()}
    return CaseRecord(
        style_seed=item.style_seed,
        claimed_style=batch.claimed_style,
        kind=item.kind.value,
        number=item.number,
        strength=item.strength,
        is_other_model=_is_other_model(snapshot, scored, nearest),
        is_third_model=_is_other_model(snapshot, scored, strangers),
        photos=photos,
    )


def _is_other_model(snapshot: Snapshot, scored: CaseScore, nearest: Mapping[View, Sequence[Neighbour]]) -> bool:
    """As a worker asks, which looks at NEIGHBOURS of each photograph."""
    looked_at = {view: found[:NEIGHBOURS] for view, found in nearest.items()}
    return bool(gates.another_model(snapshot.claim, scored, looked_at))


def look(its: Instruments, photos: Mapping[View, bytes]) -> Seen:
    """As an upload and a worker do."""
    limits = Limits.of(Settings(its.drawn))
    uploads = {view: read_upload(content, limits) for view, content in photos.items()}
    looking = its.lens.look([upload.pixels for upload in uploads.values()])
    features = dict(zip(uploads, its.loop.run_until_complete(looking), strict=True))
    poor = {view: gate(measure(upload)) for view, upload in uploads.items()}
    found = gates.joined(poor, gates.view_findings(features))
    faults = {view: tuple(f.fault.value for f in found.get(view, ()) if f.is_blocking) for view in uploads}
    return Seen(features, faults)


def _pointing(its: Instruments, item: DrawnItem, view: View, comparison: Comparison) -> dict[str, Any]:
    return pointing(comparison.distance_map, altered_pixels(its.drawn, item, view, SIDE))


def pointing(distance_map: NDArray[np.float32], altered: Mask) -> dict[str, Any]:
    """Both strictly and within one patch, with the shares of the photograph that chance hits."""
    beside = _widened(_widened(altered).T).T
    return {
        "points": pointing_hit(distance_map, altered),
        "points_beside": pointing_hit(distance_map, beside),
        "altered_share": float(altered.mean()),
        "altered_share_beside": float(beside.mean()),
    }


def _widened(mask: Mask) -> Mask:
    """By one patch to the left and to the right."""
    padded = np.pad(mask, ((0, 0), (PATCH_PX, PATCH_PX)))
    return np.asarray(sliding_window_view(padded, 2 * PATCH_PX + 1, axis=1).any(axis=2))
