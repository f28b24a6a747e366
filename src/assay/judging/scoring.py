"""From distances to one number for a case: how far it is from genuine ones, in their standard deviations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from assay.judging.judgement import ViewJudgement
from assay.references.search import nearest_rows
from assay.references.snapshot import Neighbour, Snapshot, Spread, ViewReferences
from assay.views import VIEWS, View
from assay.vision.lens import Comparison, Features


@dataclass(frozen=True)
class Weights:
    """How the parts of a score are put together. Chosen on calibration cases alone (docs/assay-accuracy.md)."""

    one_class: float = 1.0  # of a view's deviations in patches, which show local changes
    metric: float = 0.25  # of its deviations in the embedding, which tell genuine and altered items apart less well
    sharpness: float = 2.0  # of the soft maxima: weight grows by e for each deviation over this


WEIGHTS = Weights()
SMALLEST_DEVIATION = 0.05  # of the mean: few references can look more alike than the next genuine one will
MOST_VIEWS = 4  # "most" of six
SHOWN_NEIGHBOURS = 3


@dataclass(frozen=True)
class CaseScore:
    """A case held against the references of its model."""

    score: float
    views: Mapping[View, ViewJudgement]

    @property
    def unfamiliarity(self) -> float:
        """What MOST_VIEWS of the views have at least, in deviations of the metric."""
        return sorted((v.metric for v in self.views.values()), reverse=True)[MOST_VIEWS - 1]


def score_case(
    snapshot: Snapshot, features: Mapping[View, Features], comparisons: Mapping[View, Comparison]
) -> CaseScore:
    """Of all six views. Calibration and judging both take their scores from here."""
    views = {v: score_view(snapshot, v, features[v], comparisons[v]) for v in VIEWS}
    return CaseScore(soft_maximum([v.score for v in views.values()]), views)


def score_view(snapshot: Snapshot, view: View, features: Features, comparison: Comparison) -> ViewJudgement:
    """One photograph against the references of its view."""
    known = snapshot.views[view]
    neighbours = own_neighbours(snapshot, view, features)
    items = item_count(known)
    one_class = deviations(comparison.score, known.one_class, items)
    metric = deviations(neighbours[0].distance, known.metric, items)
    return ViewJudgement(
        view=view,
        one_class=one_class,
        metric=metric,
        score=view_score(one_class, metric),
        view_probability=float(features.view[VIEWS.index(view)]),
        hottest=hottest(comparison),
        neighbours=neighbours,
    )


def view_score(one_class: float, metric: float, weights: Weights = WEIGHTS) -> float:
    """Of one photograph, from its two deviations."""
    return soft_maximum([weights.one_class * one_class, weights.metric * metric], weights.sharpness)


def item_count(known: ViewReferences) -> int:
    """Photographs of one item say little more of how items differ than one does."""
    return len({photo.item for photo in known.photos})


def own_neighbours(snapshot: Snapshot, view: View, features: Features) -> tuple[Neighbour, ...]:
    """The nearest references of the snapshot's own model, nearest first."""
    known = snapshot.views[view]
    hits = nearest_rows(known.embeddings, [features.embedding], SHOWN_NEIGHBOURS)[0]
    return tuple(Neighbour(snapshot.claim, known.photos[hit.row], hit.distance) for hit in hits)


def deviations(value: float, spread: Spread, items: int) -> float:
    """How far ``value`` is above a spread that ``items`` items gave, as deviations of a normal distribution.

    The next of n normal values, less their mean, over their deviation times sqrt(1 + 1/n), has Student's t distribution
    with n - 1 degrees of freedom: with few items large values are less surprising. Wallace's approximation (Biometrika
    46, 1959) turns t into the normal deviate that is as rare.
    """
    assert items >= 2, "one item has no spread"
    deviation = max(spread.deviation, SMALLEST_DEVIATION * abs(spread.mean), 1e-9)
    t = (value - spread.mean) / (deviation * math.sqrt(1 + 1 / items))
    freedom = items - 1
    size = (8 * freedom + 1) / (8 * freedom + 3) * math.sqrt(freedom * math.log1p(t * t / freedom))
    return math.copysign(size, t)


def soft_maximum(scores: Sequence[float], sharpness: float = WEIGHTS.sharpness) -> float:
    """The logarithm of the mean exponential: the likelihood ratio of "one of these is altered, by ``sharpness``
    deviations" to "none is". One that is altered is enough to raise it, and several raise it further. That of views,
    each a soft maximum of its two deviations, is the soft maximum of all twelve."""
    top = max(scores)
    return top + math.log(sum(math.exp(sharpness * (s - top)) for s in scores) / len(scores)) / sharpness


def hottest(comparison: Comparison) -> tuple[float, float]:
    """Where the distance map peaks: x, y as fractions of the photograph."""
    height, width = comparison.distance_map.shape
    y, x = np.unravel_index(int(np.argmax(comparison.distance_map)), (height, width))
    return (float(x) + 0.5) / width, (float(y) + 0.5) / height
