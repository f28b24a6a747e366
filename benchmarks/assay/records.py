"""What was found of each photograph and case: values that are kept as JSON, and from which all figures are made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.assay.drawn_cases import Kind


@dataclass(frozen=True)
class PhotoRecord:
    """One photograph held against references. ``one_class`` and ``metric`` are in deviations of genuine ones."""

    view: str
    defects: tuple[str, ...]
    faults: tuple[str, ...]  # that block: of the quality gate, and a view taken for another
    one_class: float
    metric: float
    points: bool | None = None  # whether the map peaks where something is altered; None where nothing is
    points_beside: bool | None = None  # the same, or within one patch of it
    altered_share: float | None = None  # of the photograph: how often a random place is a hit
    altered_share_beside: float | None = None


@dataclass(frozen=True)
class CaseRecord:
    """One case. ``claimed_style`` is what it was submitted as."""

    style_seed: int
    claimed_style: int
    kind: str
    number: int
    strength: float
    is_other_model: bool  # the references of another model are clearly nearer
    is_third_model: bool  # those of a model that is neither the claimed nor the true one are
    photos: tuple[PhotoRecord, ...]

    @property
    def is_altered(self) -> bool:
        return self.kind == Kind.ALTERED.value

    @property
    def defects(self) -> tuple[str, ...]:
        return tuple(defect for photo in self.photos for defect in photo.defects)

    @property
    def faults(self) -> tuple[str, ...]:
        return tuple(fault for photo in self.photos for fault in photo.faults)


def write(file: Path, records: Sequence[CaseRecord]) -> None:
    """Whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps([asdict(record) for record in records]))
    new.replace(file)


def read(file: Path) -> list[CaseRecord]:
    return [_case(document) for document in json.loads(file.read_text())]


def _case(document: dict[str, Any]) -> CaseRecord:
    document["photos"] = tuple(_photo(photo) for photo in document["photos"])
    return CaseRecord(**document)


def _photo(document: dict[str, Any]) -> PhotoRecord:
    for name in ("defects", "faults"):
        document[name] = tuple(document[name])
    return PhotoRecord(**document)
