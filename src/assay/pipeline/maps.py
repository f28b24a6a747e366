"""The maps of a report: colour begins where genuine photographs end."""

from __future__ import annotations

from collections.abc import Mapping

from assay.evidence import HeatMap
from assay.imaging.heat import heat_map
from assay.judging.scoring import SMALLEST_DEVIATION
from assay.references.snapshot import Snapshot, Spread
from assay.views import View
from assay.vision.lens import Comparison, Features

COOL, HOT = 2.0, 8.0  # in deviations of genuine photographs' scores
LEAST_RANGE = 1e-6


def distance_maps(comparisons: Mapping[View, Comparison], snapshot: Snapshot | None) -> dict[View, HeatMap]:
    """How unlike each place is, in colours that begin where genuine photographs end.

    A photograph's hottest place stands for its score, so what is shown of it agrees with the number beside it.
    """
    if snapshot is None:
        return {}
    return {view: _distance_map(found, snapshot.views[view].one_class) for view, found in comparisons.items()}


def _distance_map(found: Comparison, usual: Spread) -> HeatMap:
    """The score is a smooth maximum, a little below the map's own."""
    above_score = float(found.distance_map.max()) - found.score
    deviation = max(usual.deviation, SMALLEST_DEVIATION * abs(usual.mean), LEAST_RANGE)
    zero = usual.mean + above_score
    return heat_map(found.distance_map, zero + COOL * deviation, zero + HOT * deviation)


def view_maps(features: Mapping[View, Features]) -> dict[View, HeatMap]:
    """What of each photograph spoke for the view that it was taken for, from its least to its most."""
    return {view: _view_map(seen) for view, seen in features.items()}


def _view_map(seen: Features) -> HeatMap:
    low, high = float(seen.view_map.min()), float(seen.view_map.max())
    return heat_map(seen.view_map, low, max(high, low + LEAST_RANGE))
