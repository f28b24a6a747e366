"""The two baselines on the same photographs, their photo scores as far as can be from how Assay makes its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assay.imaging.uploads import Limits, read_upload
from assay.judging.scoring import deviations
from assay.references.snapshot import Spread
from assay.settings import Settings
from assay.views import VIEWS, View
from assay.vision.lens import SIDE, Pixels
from benchmarks.assay import product_scores
from benchmarks.assay.drawn_cases import REFERENCES, DrawnItem, Kind, altered_pixels, defects_of, items_of, photos_of
from benchmarks.assay.networks import Home
from benchmarks.assay.product_scores import Batch, Instruments
from benchmarks.assay.records import CaseRecord, PhotoRecord
from fusee.runtime.engine import load
from fusee.runtime.session import Session

Floats = NDArray[np.float64]


def score_by_neighbour(its: Instruments, batch: Batch) -> list[CaseRecord]:
    """Plain nearest neighbour: the distance of the whole photograph's embedding to the nearest reference's, in
    deviations of the references' distances to each other. ``metric`` holds it; there is no map."""
    enrolled = _embeddings(its, items_of(batch.claimed_style, Kind.REFERENCE, REFERENCES))
    spreads = {view: leave_one_out(embeddings) for view, embeddings in enrolled.items()}
    seen = _embeddings(its, batch.items)
    scores = {view: [_deviation(e, enrolled[view], spreads[view]) for e in seen[view]] for view in VIEWS}
    return [
        _record(its.drawn, item, {view: scores[view][number] for view in VIEWS})
        for number, item in enumerate(batch.items)
    ]


def _embeddings(its: Instruments, items: Sequence[DrawnItem]) -> dict[View, Floats]:
    """[items, EMBEDDING] of each view."""
    seen = [product_scores.look(its, photos_of(its.drawn, item)).features for item in items]
    return {view: np.stack([features[view].embedding for features in seen]).astype(np.float64) for view in VIEWS}


def leave_one_out(embeddings: Floats) -> Spread:
    """Of the distances of each row to the nearest other row."""
    distances = np.linalg.norm(embeddings[:, None] - embeddings[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.min(axis=1)
    return Spread(float(nearest.mean()), float(nearest.std(ddof=1)))


def _deviation(embedding: Floats, enrolled: Floats, spread: Spread) -> float:
    return deviations(float(np.linalg.norm(enrolled - embedding, axis=1).min()), spread, len(enrolled))


def _record(drawn: Path, item: DrawnItem, scores: Mapping[View, float]) -> CaseRecord:
    defects = defects_of(drawn, item)
    photos = tuple(
        PhotoRecord(view.value, tuple(d.value for d in defects.get(view, ())), (), 0.0, scores[view]) for view in VIEWS
    )
    return _case(item, photos)


def _case(item: DrawnItem, photos: tuple[PhotoRecord, ...]) -> CaseRecord:
    style = item.style_seed
    return CaseRecord(style, style, item.kind.value, item.number, item.strength, False, False, photos)


class Classifier:
    """The supervised network: it looks at a photograph alone and never at references."""

    def __init__(self, home: Home, drawn: Path) -> None:
        self._session = load(home.engines / "classifier.fusee").session(1)
        self._drawn = drawn

    def score(self, batch: Batch) -> list[CaseRecord]:
        """``one_class`` holds the logit of alteration; the class activation map points."""
        return [self._item(item) for item in batch.items]

    def _item(self, item: DrawnItem) -> CaseRecord:
        uploads = [read_upload(c, Limits.of(Settings(self._drawn))) for c in photos_of(self._drawn, item).values()]
        outputs = _run(self._session, np.stack([upload.pixels for upload in uploads]))
        defects = defects_of(self._drawn, item)
        photos: list[PhotoRecord] = []
        for view, logit, heat in zip(VIEWS, outputs["score"].tolist(), outputs["heat"], strict=True):
            photo = PhotoRecord(view.value, tuple(d.value for d in defects.get(view, ())), (), logit, 0.0)
            if view in defects:
                mask = altered_pixels(self._drawn, item, view, SIDE)
                photo = replace(photo, **product_scores.pointing(_enlarged(heat), mask))
            photos.append(photo)
        return _case(item, tuple(photos))


def _run(session: Session, photos: Pixels) -> Mapping[str, NDArray[np.float32]]:
    return session.run({"photo": photos})


def _enlarged(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """[GRID, GRID] to [SIDE, SIDE], as the compare network enlarges its map."""
    return np.asarray(Image.fromarray(heat).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
