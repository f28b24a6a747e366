"""What a case was found to be, and on what grounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from assay.cases import Finding, Verdict
from assay.references.snapshot import Neighbour
from assay.views import View


@dataclass(frozen=True)
class ViewJudgement:
    """One photograph against the references of its view. Scores are in standard deviations of genuine photographs:
    0 is a usual genuine one."""

    view: View
    one_class: float  # of the compare engine's score
    metric: float  # of the distance to the nearest reference's embedding
    score: float  # the two combined, which the case is judged by
    view_probability: float  # that the photograph shows this view
    hottest: tuple[float, float]  # where the distance map peaks: x, y as fractions of the photograph
    neighbours: tuple[Neighbour, ...]  # of the claimed model, nearest first


@dataclass(frozen=True)
class Calibration:
    """Thresholds and what they promise. ``digest`` is over all other fields."""

    accept_below: float  # case scores at most this: CONSISTENT
    reject_above: float  # case scores from this on: NOT CONSISTENT
    unknown_above: float  # metric scores from this on are unlike anything calibrated: NOT SUPPORTED
    false_accept_rate: float  # promised: altered items called CONSISTENT, at most
    false_reject_rate: float  # promised: genuine items called NOT CONSISTENT, at most
    assurance: float  # probability, over the draw of the calibration cases, that the promises hold
    genuine_scores: tuple[float, ...]  # of the calibration cases, ascending
    altered_scores: tuple[float, ...]
    model_digest: str  # of the photo network that the scores come from
    digest: str = ""


@dataclass(frozen=True)
class Judgement:
    """The verdict and all it rests on. The same photographs, engines, references and thresholds give the same."""

    verdict: Verdict
    score: float | None  # of the case; None when nothing was compared
    confidence: float | None  # see ``meaning``; None for NOT SUPPORTED and NEEDS PHOTOS
    meaning: str  # what the confidence says, in a sentence
    reasons: tuple[str, ...]  # in sentences, the weightiest first
    views: Mapping[View, ViewJudgement]
    findings: Mapping[View, tuple[Finding, ...]]
    missing: tuple[View, ...]
    not_checked: tuple[str, ...]  # what photographs cannot show, or was not asked
