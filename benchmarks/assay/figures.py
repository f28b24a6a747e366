"""From records to figures: what a case scores, how it is decided, and how often that is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from assay.cases import Verdict
from assay.judging.judge import verdict_of
from assay.judging.judgement import Calibration
from assay.judging.metrics import auroc
from assay.judging.scoring import MOST_VIEWS, WEIGHTS, soft_maximum
from benchmarks.assay.records import CaseRecord, PhotoRecord

FALSE_ACCEPT, FALSE_REJECT = 0.02, 0.02  # promised
RESAMPLES = 1000
SEED = 5


class Method(Enum):
    """What gives a photograph its score."""

    PRODUCT = "Assay"
    ONE_CLASS = "Assay, patches alone"
    METRIC = "Assay, embedding alone"
    NEIGHBOUR = "nearest neighbour, raw backbone"
    CLASSIFIER = "supervised classifier"


_PHOTO_SCORES: dict[Method, Callable[[PhotoRecord], float]] = {
    Method.PRODUCT: lambda photo: WEIGHTS.one_class * photo.one_class + WEIGHTS.metric * photo.metric,
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

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def photo_score(photo: PhotoRecord, method: Method) -> float:
    return _PHOTO_SCORES[method](photo)


def case_score(case: CaseRecord, method: Method) -> float:
    """By the product's own soft maximum; the classifier's is its largest logit."""
    scores = [photo_score(photo, method) for photo in case.photos]
    return max(scores) if method is Method.CLASSIFIER else soft_maximum(scores)


def case_scores(cases: Sequence[CaseRecord], method: Method) -> tuple[list[float], list[float]]:
    """Of genuine cases, and of altered ones."""
    scored = [(case.is_altered, case_score(case, method)) for case in cases]
    return [s for is_altered, s in scored if not is_altered], [s for is_altered, s in scored if is_altered]


def unfamiliarity(case: CaseRecord) -> float:
    """As ``CaseScore.unfamiliarity``."""
    return sorted((photo.metric for photo in case.photos), reverse=True)[MOST_VIEWS - 1]


def familiar_up_to(cases: Sequence[CaseRecord]) -> list[float]:
    return [unfamiliarity(case) for case in cases]


def verdict(case: CaseRecord, calibration: Calibration) -> Verdict:
    """As ``judging.judge``: the gates in order, then the score."""
    if case.faults:
        return Verdict.NEEDS_PHOTOS
    if case.is_other_model or unfamiliarity(case) >= calibration.unknown_above:
        return Verdict.NOT_SUPPORTED
    return verdict_of(case_score(case, Method.PRODUCT), calibration)


def case_auroc(cases: Sequence[CaseRecord], method: Method) -> float:
    return auroc(*case_scores(cases, method))


def over_styles(cases: Sequence[CaseRecord], figure: Callable[[Sequence[CaseRecord]], float]) -> Interval:
    """The figure, and how it varies over draws of as many styles: cases of one style resemble each other."""
    by_style: dict[int, list[CaseRecord]] = {}
    for case in cases:
        by_style.setdefault(case.style_seed, []).append(case)
    styles = list(by_style.values())
    draws = np.random.default_rng(SEED).integers(len(styles), size=(RESAMPLES, len(styles)))
    found = [figure([case for k in draw for case in styles[k]]) for draw in draws.tolist()]
    low, high = np.quantile(found, (0.025, 0.975))
    return Interval(figure(cases), float(low), float(high))


def rates(values: Sequence[bool]) -> NDArray[np.float64]:
    return np.asarray(values, np.float64)
