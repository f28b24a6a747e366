"""Snapshots of random numbers, and engines as lenses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO

import numpy as np
from PIL import Image

from assay.cases import Claim
from assay.references import EnrolmentPhoto
from assay.references.content import sealed
from assay.references.snapshot import ReferencePhoto, Snapshot, Spread, ViewReferences
from assay.views import VIEWS
from assay.vision.answers import features_of
from assay.vision.lens import EMBEDDING, PATCH_FEATURES, SIDE, EngineIdentity, Features, Floats, Pixels
from fusee.runtime.engine import Engine

AURELLE, BRIONNE = Claim("Aurelle", "Cabas"), Claim("Brionne", "Sac 24")
NOON = datetime(2026, 11, 21, 12, 0, 0, 250, tzinfo=UTC)


def unit_rows(random: np.random.Generator, count: int, features: int) -> Floats:
    rows = random.standard_normal((count, features)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def a_snapshot(claim: Claim = AURELLE, version: int = 1, seed: int = 1, photos: int = 5) -> Snapshot:
    """Of random numbers, with its digest."""
    random = np.random.default_rng([seed, version])
    views = {view: _a_view(random, f"{claim.model}/{version}/{view.value}", photos) for view in VIEWS}
    return sealed(Snapshot(claim, version, "", "d" * 64, NOON, views))


def _a_view(random: np.random.Generator, name: str, photos: int) -> ViewReferences:
    rows = 30
    origin = random.integers(0, (photos, 1600), (rows, 2)).astype(np.int32)
    return ViewReferences(
        photos=tuple(_a_photo(f"{name}/{i}") for i in range(photos)),
        embeddings=unit_rows(random, photos, EMBEDDING),
        bank=unit_rows(random, rows, PATCH_FEATURES),
        origin=origin,
        one_class=Spread(0.1 + float(random.random()), 0.01 + float(random.random())),
        metric=Spread(0.2, 1 / 3),
    )


def _a_photo(name: str) -> ReferencePhoto:
    return ReferencePhoto(sha256(name.encode()).hexdigest(), sha256(picture_of(name)).hexdigest(), f"item of {name}")


def picture_of(name: str) -> bytes:
    return f"picture of {name}".encode()


def pictures(snapshot: Snapshot) -> Mapping[str, bytes]:
    names = (f"{snapshot.claim.model}/{snapshot.version}/{v.value}/{i}" for v in VIEWS for i in range(5))
    return {sha256(picture_of(name)).hexdigest(): picture_of(name) for name in names}


def assert_equal_snapshots(found: Snapshot | None, expected: Snapshot) -> None:
    """Field by field, arrays bit by bit."""
    assert found is not None
    assert replace(found, views={}) == replace(expected, views={})
    assert found.views.keys() == expected.views.keys()
    for view, known in expected.views.items():
        other = found.views[view]
        assert (other.photos, other.one_class, other.metric) == (known.photos, known.one_class, known.metric)
        for name in ("embeddings", "bank", "origin"):
            one, two = getattr(other, name), getattr(known, name)
            assert one.dtype == two.dtype
            np.testing.assert_array_equal(one, two)


class EngineLens:
    """The photo engine without a queue."""

    identity = EngineIdentity("model", "engine")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def look(self, photos: Sequence[Pixels]) -> list[Features]:
        return features_of(self._engine.run({"photo": np.stack(photos)}))


def some_jpeg(seed: int) -> bytes:
    """Soft blots of colour, others for each seed."""
    small = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def enrolment(items: int) -> list[EnrolmentPhoto]:
    """One photograph of each view of so many items."""
    return [
        EnrolmentPhoto(f"item {i}", view, some_jpeg(100 * number + i))
        for i in range(items)
        for number, view in enumerate(VIEWS)
    ]
