"""The cases that accuracy is measured on: which they are, and their photographs as JPEG files.

``<folder>/<style seed>/<kind>/<number>/`` holds one item: ``<view>.jpg``, ``<view>.altered.png`` where a defect shows
in that view, and ``item.json``. Of an item whose defects are scaled only the views they show in are drawn: the others
are those of the item as it is. All of it follows from the seeds; what is there is not drawn again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assay.cases import Claim
from assay.synthetic import Defect, Shot, counterfeit, draw_case, draw_style, encode
from assay.views import VIEWS, View

REFERENCES = 12  # items enrolled of each style
SIZES_PX = (512, 512, 512, 768)  # of the photographs of item 0, 1, 2, 3; then again
QUALITY = 92  # of the JPEG files
PAINTERS = 2  # processes that draw
SEEDS_OF_A_STYLE = 1000
SEEDS_OF_A_KIND = 100


class Kind(Enum):
    """What an item is for."""

    REFERENCE = "reference"
    GENUINE = "genuine"
    ALTERED = "altered"


_KINDS = tuple(Kind)


@dataclass(frozen=True)
class DrawnItem:
    """One item of a style. ``strength`` scales its defects, down to 0: the item before it was altered. Items that
    differ in nothing else have the same seed, and differ in nothing else to see."""

    style_seed: int
    kind: Kind
    number: int
    strength: float = 1.0

    @property
    def seed(self) -> int:
        """Of its own in every style: the same seed gives the same deviations within tolerance."""
        return self.style_seed * SEEDS_OF_A_STYLE + _KINDS.index(self.kind) * SEEDS_OF_A_KIND + self.number

    @property
    def size_px(self) -> int:
        return size_of(self.number)

    @property
    def claim(self) -> Claim:
        style = draw_style(self.style_seed)
        return Claim(style.brand, style.model)

    @property
    def folder(self) -> str:
        strength = "" if self.strength == 1.0 else f"-{self.strength:g}"
        return f"{self.style_seed}/{self.kind.value}{strength}/{self.number:02}"


def size_of(number: int) -> int:
    """Of an item's photographs, in pixels."""
    return SIZES_PX[number % len(SIZES_PX)]


def items_of(style_seed: int, kind: Kind, count: int, strength: float = 1.0) -> tuple[DrawnItem, ...]:
    assert count <= SEEDS_OF_A_KIND, f"{count} items of a kind would share seeds with another kind's"
    return tuple(DrawnItem(style_seed, kind, number, strength) for number in range(count))


def draw_all(folder: Path, items: Iterable[DrawnItem], progress: Callable[[int, int], None]) -> None:
    """Draws what is not there. ``progress`` hears how many of how many items are done."""
    absent = [item for item in items if not (folder / item.folder / "item.json").exists()]
    if not absent:
        return
    with get_context("spawn").Pool(PAINTERS) as pool:
        for done, _ in enumerate(pool.imap_unordered(partial(_draw, folder), absent), 1):
            progress(done, len(absent))


def _draw(folder: Path, item: DrawnItem) -> None:
    style, defects = draw_style(item.style_seed), None if item.kind is Kind.ALTERED and item.strength else ()
    views = VIEWS if item.strength == 1.0 else _views_of(counterfeit(style, item.seed).defects)
    shots = draw_case(style, item.seed, defects, item.strength, size_px=item.size_px, views=views)
    place = folder / item.folder
    place.mkdir(parents=True, exist_ok=True)
    for view, shot in shots.items():
        _write(place, view, shot)
    found = {view.value: [defect.value for defect in shot.defects] for view, shot in shots.items() if shot.defects}
    (place / "item.json").write_text(json.dumps(found))  # last: it says that the rest is here


def _views_of(defects: Iterable[Defect]) -> list[View]:
    shown = {defect.view for defect in defects}
    return [view for view in VIEWS if view in shown]


def _write(place: Path, view: View, shot: Shot) -> None:
    (place / f"{view.value}.jpg").write_bytes(encode(shot, QUALITY))
    if shot.defects:
        Image.fromarray(shot.altered).save(place / f"{view.value}.altered.png")


def photos_of(folder: Path, item: DrawnItem) -> dict[View, bytes]:
    """The JPEG files of all six views."""
    own = VIEWS if item.strength == 1.0 else tuple(defects_of(folder, item))
    places = {view: item if view in own else replace(item, strength=1.0) for view in VIEWS}
    return {view: (folder / its.folder / f"{view.value}.jpg").read_bytes() for view, its in places.items()}


def defects_of(folder: Path, item: DrawnItem) -> Mapping[View, tuple[Defect, ...]]:
    """The defects that show, by view."""
    found = json.loads((folder / item.folder / "item.json").read_text())
    return {View(name): tuple(map(Defect, defects)) for name, defects in found.items()}


def altered_pixels(folder: Path, item: DrawnItem, view: View, side: int) -> NDArray[np.bool_]:
    """Where a defect changed the look, bool[side, side]: the photograph's own pixels, the nearest of each."""
    mask = Image.open(folder / item.folder / f"{view.value}.altered.png")
    return np.asarray(mask.resize((side, side), Image.Resampling.NEAREST))


def claims_of(style_seeds: Sequence[int]) -> dict[int, Claim]:
    """The model of each style. Raises ValueError when two styles have one name: their references would mix."""
    claims = {seed: DrawnItem(seed, Kind.REFERENCE, 0).claim for seed in style_seeds}
    if len(set(claims.values())) < len(claims):
        raise ValueError(f"two of the styles {min(style_seeds)} to {max(style_seeds)} have one brand and model")
    return claims
