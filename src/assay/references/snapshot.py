"""What is known of one model of one brand, at one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from assay.cases import Claim
from assay.views import View
from assay.vision.lens import Floats


@dataclass(frozen=True)
class ReferencePhoto:
    """One enrolled photograph. A picture of SIDE x SIDE pixels lies in the blob store under ``picture_sha256``."""

    sha256: str  # of the original
    picture_sha256: str  # of the JPEG shown beside a case's photo
    item: str  # photographs of one object share it


class Spread(NamedTuple):
    """How genuine photographs score when each is held against the others."""

    mean: float
    deviation: float


@dataclass(frozen=True)
class ViewReferences:
    """All there is of one view."""

    photos: tuple[ReferencePhoto, ...]
    embeddings: Floats  # [photos, EMBEDDING]
    bank: Floats  # [rows, PATCH_FEATURES]: the coreset of all their patches
    origin: NDArray[np.int32]  # [rows, 2]: which photo, which patch of it
    one_class: Spread  # of compare scores, each item left out in turn
    metric: Spread  # of distances to the nearest other item's embedding


@dataclass(frozen=True)
class Snapshot:
    """A version of a model's references. Never changed; enrolling more makes another."""

    claim: Claim
    version: int
    digest: str  # SHA-256 over everything above and below, in hex
    model_digest: str  # of the photo network that made the features: those of another do not compare
    created_at: datetime
    views: Mapping[View, ViewReferences]


class Neighbour(NamedTuple):
    """A reference near a photograph."""

    claim: Claim
    photo: ReferencePhoto
    distance: float  # Euclidean, between embeddings of length 1


class ReferenceStore(Protocol):
    """Keeps snapshots. Search is exact: every reference is looked at."""

    def models(self) -> list[Claim]: ...

    def latest(self, claim: Claim) -> Snapshot | None: ...

    def by_digest(self, digest: str) -> Snapshot | None:
        """An older one too: a report is run again with what it was made with."""
        ...

    def add(self, snapshot: Snapshot, pictures: Mapping[str, bytes]) -> None:
        """Becomes the latest of its model. ``pictures`` are the JPEGs by ``picture_sha256``."""
        ...

    def picture(self, picture_sha256: str) -> bytes | None: ...

    def nearest(self, view: View, embeddings: Sequence[Floats], most: int) -> list[list[Neighbour]]:
        """The nearest references of any model, for each embedding, nearest first."""
        ...
