"""From records to figures: what a case scores, how it is decided, and how often that is right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

import numpy as np

from assay.cases import Verdict
from assay.judging import calibrate
from assay.judging.confidence import altered_p_value, genuine_p_value
from assay.judging.judge import verdict_of
from assay.judging.judgement import Calibration
from assay.judging.metrics import auroc, risk_coverage
from assay.judging.scoring import MOST_VIEWS, WEIGHTS, Weights, soft_maximum, view_score
from assay.synthetic import Defect
from assay.views import View
from benchmarks.assay.records import CaseRecord, PhotoRecord

FALSE_ACCEPT, FALSE_REJECT = 0.05, 0.02  # promised, as `assay calibrate` does by default
RESAMPLES = 1000
SEED = 5
Cases = Sequence[CaseRecord]


class Method(Enum):
    """What gives a photograph its score."""

    PRODUCT = "Assay"
    ONE_CLASS = "Assay, patches alone"
    METRIC = "Assay, embedding alone"
    NEIGHBOUR = "nearest neighbour on the raw backbone"
    CLASSIFIER = "supervised classifier"


_PARTS: dict[Method, Callable[[PhotoRecord], float]] = {
    Method.ONE_CLASS: lambda photo: photo.one_class,
    Method.METRIC: lambda photo: photo.metric,
    Method.NEIGHBOUR: lambda photo: photo.metric,
    Method.CLASSIFIER: lambda photo: photo.one_class,
}


class Interval(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class Pointing(NamedTuple):
    """How often maps peak where something is altered, and how often a random place would be there."""

    hits: float
    chance: float
    hits_beside: float  # within one patch of it
    chance_beside: float


def photo_score(photo: PhotoRecord, method: Method, weights: Weights = WEIGHTS) -> float:
    if method is Method.PRODUCT:
        return view_score(photo.one_class, photo.metric, weights)
    return _PARTS[method](photo)


def case_score(case: CaseRecord, method: Method, weights: Weights = WEIGHTS) -> float:
    """By the product's own soft maximum; logits of the classifier by their maximum."""
    scores = [photo_score(photo, method, weights) for photo in case.photos]
    return max(scores) if method is Method.CLASSIFIER else soft_maximum(scores, weights.sharpness)


def case_scores(cases: Cases, method: Method, weights: Weights = WEIGHTS) -> tuple[list[float], list[float]]:
    """Of genuine cases, and of altered ones."""
    scored = [(case.is_altered, case_score(case, method, weights)) for case in cases]
    return [s for is_altered, s in scored if not is_altered], [s for is_altered, s in scored if is_altered]


def unfamiliarity(case: CaseRecord) -> float:
    """As ``CaseScore.unfamiliarity``."""
    return sorted((photo.metric for photo in case.photos), reverse=True)[MOST_VIEWS - 1]


def thresholds(cases: Cases, method: Method, model_digest: str = "", weights: Weights = WEIGHTS) -> Calibration:
    """From calibration cases, as ``assay calibrate`` sets them."""
    strange = [unfamiliarity(case) for case in cases]
    genuine, altered = case_scores(cases, method, weights)
    return calibrate(genuine, altered, strange, model_digest, FALSE_ACCEPT, FALSE_REJECT)


def verdict(case: CaseRecord, calibration: Calibration) -> Verdict:
    """As ``judging.judge``: the gates in order, then the score."""
    if case.faults:
        return Verdict.NEEDS_PHOTOS
    if case.is_other_model or unfamiliarity(case) >= calibration.unknown_above:
        return Verdict.NOT_SUPPORTED
    return verdict_of(case_score(case, Method.PRODUCT), calibration)


def undecided(cases: Cases, weights: Weights) -> float:
    """The share of these cases between the thresholds that they themselves set."""
    made = thresholds(cases, Method.PRODUCT, weights=weights)
    scores = [case_score(case, Method.PRODUCT, weights) for case in cases]
    return sum(verdict_of(score, made) is Verdict.INCONCLUSIVE for score in scores) / len(scores)


def case_auroc(cases: Cases, method: Method) -> float:
    return auroc(*case_scores(cases, method))


def over_styles(cases: Cases, figure: Callable[[Cases], float]) -> Interval:
    """The figure, and how it varies over draws of as many styles: cases of one style resemble each other."""
    by_style: dict[int, list[CaseRecord]] = {}
    for case in cases:
        by_style.setdefault(case.style_seed, []).append(case)
    styles = list(by_style.values())
    draws = np.random.default_rng(SEED).integers(len(styles), size=(RESAMPLES, len(styles)))
    found = [figure([case for k in draw for case in styles[k]]) for draw in draws.tolist()]
    low, high = np.quantile(found, (0.025, 0.975))
    return Interval(figure(cases), float(low), float(high))


def share(count: int, total: int) -> Interval:
    """With Wilson's 95 % interval, which takes cases as independent."""
    z, p = 1.96, count / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    reach = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total**2)) / (1 + z * z / total)
    return Interval(p, max(middle - reach, 0.0), min(middle + reach, 1.0))


def risk_at(cases: Cases, calibration: Calibration, coverages: Sequence[float]) -> list[float]:
    """The share of wrong decisions when the surest part of the cases is decided, by the likelier explanation."""
    scored = [(case.is_altered, case_score(case, Method.PRODUCT)) for case in cases]
    p_values = [(genuine_p_value(s, calibration), altered_p_value(s, calibration)) for _, s in scored]
    sure = [1 - min(pair) for pair in p_values]
    wrong = [(g >= a) == is_altered for (g, a), (is_altered, _) in zip(p_values, scored, strict=True)]
    curve = risk_coverage(sure, wrong)
    return [float(curve.risk[np.searchsorted(curve.coverage, coverage - 1e-9)]) for coverage in coverages]


def photos_with(cases: Cases, defect: Defect) -> list[PhotoRecord]:
    return [photo for case in cases for photo in case.photos if defect.value in photo.defects]


def genuine_photos(cases: Cases, view: View) -> list[PhotoRecord]:
    """Of genuine items."""
    return [photo for case in cases if not case.is_altered for photo in case.photos if photo.view == view.value]


def altered_photos(cases: Cases, view: View | None = None) -> list[PhotoRecord]:
    photos = (photo for case in cases for photo in case.photos if photo.defects)
    return [photo for photo in photos if view is None or photo.view == view.value]


def photo_auroc(genuine: Sequence[PhotoRecord], altered: Sequence[PhotoRecord], method: Method) -> float:
    return auroc([photo_score(p, method) for p in genuine], [photo_score(p, method) for p in altered])


def pointing(photos: Sequence[PhotoRecord]) -> Pointing:
    """Of altered photographs that have a map."""
    rows = [(p.points, p.altered_share, p.points_beside, p.altered_share_beside) for p in photos]
    hits, chance, hits_beside, chance_beside = np.asarray(rows, np.float64).mean(axis=0).tolist()
    return Pointing(hits, chance, hits_beside, chance_beside)
