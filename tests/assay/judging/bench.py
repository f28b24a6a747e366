"""Cases whose scores are what a test says: references with chosen spreads, photographs with chosen distances."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from assay.cases import Case, CaseState, Claim, Finding, Lane, Photo
from assay.judging import calibrate, judge
from assay.judging.judgement import Calibration, Judgement
from assay.references.snapshot import Neighbour, ReferencePhoto, Snapshot, Spread, ViewReferences
from assay.views import VIEWS, View
from assay.vision.lens import EMBEDDING, GRID, PATCH_FEATURES, PATCHES, SIDE, Comparison, Features, Floats

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
CLAIM, OTHER = Claim("Aurelle", "Cabas"), Claim("Brionne", "Sac 24")
ITEMS = 12
ONE_CLASS, METRIC = Spread(0.1, 0.02), Spread(0.3, 0.05)
SCALE = math.sqrt(1 + 1 / ITEMS)  # of the next item's deviations


def axis(number: int) -> Floats:
    return np.eye(EMBEDDING, dtype=np.float32)[number]


def at_distance(distance: float) -> Floats:
    """The unit vector at that distance from the first axis, and far from all others but the second."""
    cosine = 1 - distance * distance / 2
    return (cosine * axis(0) + math.sqrt(1 - cosine * cosine) * axis(1)).astype(np.float32)


def references() -> ViewReferences:
    photos = tuple(ReferencePhoto(f"{i:064x}", f"{i + 99:064x}", f"item {i}") for i in range(ITEMS))
    embeddings = np.stack([axis(0), *(axis(10 + i) for i in range(ITEMS - 1))])
    bank, origin = np.zeros((1, PATCH_FEATURES), np.float32), np.zeros((1, 2), np.int32)
    return ViewReferences(photos, embeddings, bank, origin, ONE_CLASS, METRIC)


SNAPSHOT = Snapshot(CLAIM, 3, "5" * 64, "network", NOON, {view: references() for view in VIEWS})
CALIBRATION: Calibration = calibrate(
    [i / 200 for i in range(200)],  # genuine: 0 to 1
    [3 + i / 20 for i in range(200)],  # altered: 3 to 13
    [-1.0, 4.0],
    "network",
    false_accept_rate=0.02,
)


def a_photo(view: View) -> Photo:
    return Photo(view, "a" * 64, 1000, "image/jpeg", 800, 600, 0, {}, (), NOON)


@dataclass
class CaseOf:
    """A genuine case; a test changes what it is about."""

    missing: tuple[View, ...] = ()
    one_class: dict[View, float] = field(default_factory=dict[View, float])  # deviations t of the compare score
    metric: dict[View, float] = field(default_factory=dict[View, float])  # deviations t of the embedding's distance
    seen_as: dict[View, tuple[View, float]] = field(default_factory=dict[View, tuple[View, float]])
    hot: tuple[int, int] = (160, 160)  # row, column
    findings: dict[View, tuple[Finding, ...]] = field(default_factory=dict[View, tuple[Finding, ...]])
    neighbours: dict[View, list[Neighbour]] = field(default_factory=dict[View, list[Neighbour]])
    snapshot: Snapshot | None = SNAPSHOT
    calibration: Calibration = CALIBRATION

    def judged(self) -> Judgement:
        here = [view for view in VIEWS if view not in self.missing]
        photos = {view: a_photo(view) for view in here}
        case = Case("case", "tenant", CLAIM, Lane.NORMAL, CaseState.QUEUED, NOON, photos=photos)
        comparisons = {view: self._comparison(view) for view in here}
        features = {view: self._features(view) for view in here}
        return judge(case, features, comparisons, self.snapshot, self.neighbours, self.calibration, self.findings)

    def _comparison(self, view: View) -> Comparison:
        heat = np.zeros((SIDE, SIDE), np.float32)
        heat[self.hot] = 1.0
        score = ONE_CLASS.mean + self.one_class.get(view, 0.0) * ONE_CLASS.deviation * SCALE
        return Comparison(heat, score, np.zeros(PATCHES, np.int64))

    def _features(self, view: View) -> Features:
        shown, probability = self.seen_as.get(view, (view, 0.98))
        views = np.full(len(VIEWS), (1 - probability) / (len(VIEWS) - 1), np.float32)
        views[VIEWS.index(shown)] = probability
        embedding = at_distance(METRIC.mean + self.metric.get(view, 0.0) * METRIC.deviation * SCALE)
        patches, view_map = np.zeros((PATCHES, PATCH_FEATURES), np.float32), np.zeros((GRID, GRID), np.float32)
        return Features(patches, embedding, views, view_map)


def everywhere(value: float) -> dict[View, float]:
    return dict.fromkeys(VIEWS, value)


def near_other(distance: float, views: int, claim: Claim = OTHER) -> Mapping[View, list[Neighbour]]:
    photo = ReferencePhoto("b" * 64, "c" * 64, "other item")
    return {view: [Neighbour(claim, photo, distance)] for view in VIEWS[:views]}
