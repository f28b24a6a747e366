"""What a report is made of, before it is signed and rendered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from assay.cases import Case, Verdict
from assay.evidence import HeatMap
from assay.judging.judgement import Calibration, Judgement
from assay.views import View
from assay.vision.lens import EngineIdentity


class Stage(NamedTuple):
    """A step on the way to the report, as it was timed."""

    name: str
    ms: float


@dataclass(frozen=True)
class Versions:
    """All that a verdict depends on besides the photographs."""

    assay: str
    photo: EngineIdentity
    compare: EngineIdentity
    references_digest: str  # '' when the model is not enrolled
    references_version: int
    calibration: Calibration


@dataclass(frozen=True)
class Findings:
    """A judged case, ready to be written down."""

    case: Case
    judgement: Judgement
    heat_maps: Mapping[View, HeatMap]
    view_maps: Mapping[View, HeatMap]  # why the view was taken for what it is
    pictures: Mapping[View, str]  # SHA-256 of the JPEGs shown: upright, without EXIF, SIDE x SIDE
    versions: Versions


@dataclass(frozen=True)
class Decision:
    """What people concluded after an automatic report. It is shown with the report and does not change the document."""

    verdict: Verdict
    reviewer: str  # as the reader may know them
    decided_at: datetime
    note: str = ""
    opinions: int = 1  # that it rests on, given independently
