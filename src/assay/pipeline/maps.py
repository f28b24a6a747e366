"""The maps of a report: colour begins where genuine photographs end."""

from __future__ import annotations

from collections.abc import Mapping

from assay.evidence import HeatMap
from assay.imaging.heat import heat_map
from assay.references.snapshot import Snapshot
from assay.views import View
from assay.vision.lens import Comparison, Features

COOL, HOT = 1.0, 8.0  # in deviations of genuine photographs' scores, which are the peaks of their maps
LEAST_RANGE = 1e-6


def distance_maps(comparisons: Mapping[View, Comparison], snapshot: Snapshot | None) -> dict[View, HeatMap]:
    """How unlike each place is. The scale is that of the view's references, the same for every case: it begins a
    deviation above the hottest place of a usual genuine photograph."""
    if snapshot is None:
        return {}
    return {view: _distance_map(found, snapshot, view) for view, found in comparisons.items()}


def _distance_map(found: Comparison, snapshot: Snapshot, view: View) -> HeatMap:
    usual = snapshot.views[view].one_class
    deviation = max(usual.deviation, 0.05 * abs(usual.mean), LEAST_RANGE)
    return heat_map(found.distance_map, usual.mean + COOL * deviation, usual.mean + HOT * deviation)


def view_maps(features: Mapping[View, Features]) -> dict[View, HeatMap]:
    """What of each photograph spoke for the view that it was taken for, from its least to its most."""
    return {view: _view_map(seen) for view, seen in features.items()}


def _view_map(seen: Features) -> HeatMap:
    low, high = float(seen.view_map.min()), float(seen.view_map.max())
    return heat_map(seen.view_map, low, max(high, low + LEAST_RANGE))
