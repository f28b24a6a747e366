"""A report document as it is read by people: every text and picture that the page and the PDF show, in order."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from assay.cases import Fault, Verdict
from assay.report.document import Decision
from assay.report.scale import Scale, scale
from assay.report.wording import ASSISTANCE, FAULTS, GUIDANCE, PHRASES, UNIT, Phrase
from assay.views import View

Picture = Callable[[str], bytes | None]
Overlay = Callable[[bytes, bytes], bytes]

MARKED_FROM = 2.0  # deviations of genuine photographs: below, the hottest place is as hot as theirs


class Note(NamedTuple):
    """A finding about a photograph."""

    title: str
    measured: str
    advice: str
    is_blocking: bool


class Heat(NamedTuple):
    """The heat map laid over its photograph. ``x`` and ``y`` are where it peaks, as fractions."""

    picture: bytes | None
    low: str
    high: str
    x: float
    y: float
    is_marked: bool  # something stands out


class Reference(NamedTuple):
    """The genuine photograph nearest to the case's."""

    picture: bytes | None
    item: str
    distance: str


@dataclass(frozen=True)
class Card:
    """One view of the item."""

    title: str
    photo: bytes | None  # None once it was erased
    size: str
    sha256: str
    score: str  # '' where nothing was compared
    parts: tuple[tuple[str, str], ...]  # what the score is made of
    heat: Heat | None
    reference: Reference | None
    measures: tuple[tuple[str, str], ...]
    notes: tuple[Note, ...]


class Asked(NamedTuple):
    """A photograph to take, again or for the first time."""

    kind: str
    title: str
    advice: str


class Group(NamedTuple):
    """Some of the evidence."""

    title: str
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Sheet:
    """One report. ``phrase`` is of the verdict that counts: people's where they decided, else the automatic one."""

    report_id: str
    case_id: str
    customer_reference: str
    brand: str
    model: str
    issued: str
    valid_until: str
    verdict: str
    phrase: Phrase
    automatic_verdict: str
    decision: Decision | None
    decided: str
    score: str
    confidence: str  # '' where there is none
    meaning: str
    reasons: tuple[str, ...]
    scale: Scale | None
    unit: str
    cards: tuple[Card, ...]
    asked: tuple[Asked, ...]
    not_checked: tuple[str, ...]
    limits: str
    appeal: str
    assistance: str
    evidence: tuple[Group, ...]
    stages: tuple[tuple[str, str], ...]

    @property
    def is_compared(self) -> bool:
        """Whether there is more to show of the views than the photographs."""
        return any(card.heat or card.reference for card in self.cards)


def read_sheet(document: bytes, picture: Picture, overlay: Overlay, decision: Decision | None = None) -> Sheet:
    """From an issued document. ``picture`` finds photographs, references and heat maps by SHA-256; ``overlay`` lays a
    heat map (PNG) over a photograph (JPEG)."""
    report: dict[str, Any] = json.loads(document)
    result: dict[str, Any] = report["result"]
    automatic = Verdict(result["verdict"])
    verdict = automatic if decision is None else decision.verdict
    return Sheet(
        report_id=report["id"],
        case_id=result["case"]["id"],
        customer_reference=result["case"]["customer_reference"],
        brand=result["claim"]["brand"],
        model=result["claim"]["model"],
        issued=_moment(datetime.fromisoformat(report["issued_at"])),
        valid_until=_moment(datetime.fromisoformat(report["valid_until"])) if report["valid_until"] else "",
        verdict=verdict.value,
        phrase=PHRASES[verdict],
        automatic_verdict=automatic.value,
        decision=decision,
        decided="" if decision is None else _moment(decision.decided_at),
        score="" if result["score"] is None else _score(result["score"]),
        confidence=_confidence(automatic, result["confidence"]),
        meaning=result["meaning"],
        reasons=tuple(result["reasons"]),
        scale=scale(result["versions"]["calibration"], result["score"]),
        unit=UNIT,
        cards=tuple(_card(view, result["score"] is not None, picture, overlay) for view in result["views"]),
        asked=(*_missing(result), *_unusable(result)),
        not_checked=tuple(result["not_checked"]),
        limits=result["limits"],
        appeal=result["appeal"],
        assistance=ASSISTANCE,
        evidence=(*_evidence(report, result), _photographs(result)),
        stages=tuple((stage["name"], f"{stage['ms']:.1f} ms") for stage in report["stages"]),
    )


def _confidence(verdict: Verdict, confidence: float | None) -> str:
    """Not of INCONCLUSIVE: its meaning says how both explanations stand, and one number would favour one of them."""
    return "" if confidence is None or verdict is Verdict.INCONCLUSIVE else _percent(confidence)


def _card(view: dict[str, Any], is_scored: bool, picture: Picture, overlay: Overlay) -> Card:
    """A view of a case without a score is its photograph alone: a comparison would be read as a verdict."""
    photo, judged = view["photo"], view["judged"] if is_scored else None
    shown = _picture(photo["picture_sha256"], picture)
    return Card(
        title=View(view["view"]).title,
        photo=shown,
        size=f"{photo['width']} × {photo['height']} px",
        sha256=photo["sha256"],
        score="" if judged is None else _score(judged["score"]),
        parts=() if judged is None else _parts(judged),
        heat=_heat(view["heat_map"], judged, shown, picture, overlay),
        reference=_reference(judged, picture),
        measures=tuple((name.replace("_", " "), _figure(value)) for name, value in view["measures"].items()),
        notes=tuple(_note(finding) for finding in view["findings"]),
    )


def _parts(judged: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return (
        ("surface and details", _score(judged["one_class"])),
        ("overall likeness", _score(judged["metric"])),
        ("shows this view", _percent(judged["view_probability"])),
    )


def _heat(
    found: dict[str, Any] | None,
    judged: dict[str, Any] | None,
    shown: bytes | None,
    picture: Picture,
    overlay: Overlay,
) -> Heat | None:
    if found is None or judged is None:
        return None
    png, peak = _picture(found["sha256"], picture), judged["hottest"]
    laid_over = None if shown is None or png is None else overlay(shown, png)
    is_marked = judged["one_class"] >= MARKED_FROM
    return Heat(laid_over, f"{found['low']:.2f}", f"{found['high']:.2f}", peak["x"], peak["y"], is_marked)


def _reference(judged: dict[str, Any] | None, picture: Picture) -> Reference | None:
    if judged is None or not judged["nearest"]:
        return None
    nearest = judged["nearest"][0]
    return Reference(picture(nearest["picture_sha256"]), nearest["item"], f"{nearest['distance']:.3f}")


def _picture(sha256: str | None, picture: Picture) -> bytes | None:
    return None if sha256 is None else picture(sha256)


def _note(finding: dict[str, Any]) -> Note:
    measured = f"measured {_figure(finding['measured'])}, limit {_figure(finding['limit'])}"
    return Note(FAULTS[Fault(finding["fault"])], measured, finding["advice"], finding["is_blocking"])


def _missing(result: dict[str, Any]) -> list[Asked]:
    return [Asked("Missing", View(name).title, GUIDANCE[View(name)]) for name in result["missing"]]


def _unusable(result: dict[str, Any]) -> list[Asked]:
    return [
        Asked(f"Take again: {FAULTS[Fault(finding['fault'])].lower()}", View(view["view"]).title, finding["advice"])
        for view in result["views"]
        for finding in view["findings"]
        if finding["is_blocking"]
    ]


def _evidence(report: dict[str, Any], result: dict[str, Any]) -> tuple[Group, ...]:
    versions = result["versions"]
    return (
        Group("Record", _record(report)),
        Group("Program and engines", _engines(versions)),
        Group("References and thresholds", _thresholds(versions["references"], versions["calibration"])),
    )


def _record(report: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    signature = report["signature"]
    return (
        ("result digest", report["result_sha256"]),
        ("audit log head", report["audit_head"] or "none"),
        ("signature key", signature["key"]),
        (f"signature ({signature['algorithm']})", signature["value"]),
    )


def _engines(versions: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return (
        ("assay", versions["assay"]),
        ("photo model", versions["photo"]["model_digest"]),
        ("photo engine", versions["photo"]["engine_digest"]),
        ("compare model", versions["compare"]["model_digest"]),
        ("compare engine", versions["compare"]["engine_digest"]),
    )


def _thresholds(references: dict[str, Any], calibration: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    enrolled = f"version {references['version']}, {references['digest']}" if references["digest"] else "none enrolled"
    return (
        ("references", enrolled),
        ("thresholds", calibration["digest"]),
        ("consistent at most", _limit(calibration["accept_below"])),
        ("not consistent from", _limit(calibration["reject_above"])),
        ("not supported from", _limit(calibration["unknown_above"])),
        ("altered called consistent", f"at most {_percent(calibration['false_accept_rate'])}"),
        ("genuine called not consistent", f"at most {_percent(calibration['false_reject_rate'])}"),
        ("assurance of both rates", _percent(calibration["assurance"])),
        ("calibration cases", f"{calibration['genuine_cases']} genuine, {calibration['altered_cases']} altered"),
    )


def _photographs(result: dict[str, Any]) -> Group:
    rows = ((View(view["view"]).title, view["photo"]["sha256"]) for view in result["views"])
    return Group("Photographs as received (SHA-256)", tuple(rows))


def _moment(moment: datetime) -> str:
    utc = moment.astimezone(UTC)
    return f"{utc.day} {utc:%B %Y, %H:%M} UTC"


def _score(score: float) -> str:
    """In standard deviations, with the typographic minus."""
    return f"{score:.2f}".replace("-", "−")


def _figure(number: float) -> str:
    """Three significant digits."""
    magnitude = abs(number)
    text = f"{magnitude:.0f}" if magnitude >= 100 else f"{magnitude:.3g}" if magnitude >= 0.001 else f"{magnitude:.1g}"
    return f"−{text}" if number < 0 else text


def _percent(share: float) -> str:
    """Rounded down: a confidence is never shown higher than it is."""
    return f"{math.floor(share * 1000 + 1e-6) / 10:g} %"


def _limit(threshold: float | None) -> str:
    return "no score: too few calibration cases" if threshold is None else _score(threshold)
