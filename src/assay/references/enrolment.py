"""A brand's model from genuine photographs alone: no training, a new version of its references."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from assay.cases import Claim
from assay.errors import Reason, Refusal, invalid
from assay.imaging.uploads import Limits, read_upload
from assay.references.content import sealed, sha256
from assay.references.coreset import BANK_ROWS, Rows, candidates, coresets
from assay.references.snapshot import ReferencePhoto, ReferenceStore, Snapshot, Spread, ViewReferences
from assay.views import VIEWS, View
from assay.vision.comparer import Comparer
from assay.vision.engines import MOST_PHOTOS
from assay.vision.lens import Features, Floats, Lens, Pixels

FEWEST_ITEMS = 4  # of each view: fewer say too little of how genuine items differ
LIMITS = Limits(size_bytes=64 * 1024 * 1024, pixels=100_000_000)  # of an operator's photograph


class EnrolmentPhoto(NamedTuple):
    """A genuine photograph."""

    item: str  # photographs of one object share it
    view: View
    content: bytes  # JPEG, PNG or WebP


class _Read(NamedTuple):
    """A photograph that was read."""

    view: View
    photo: ReferencePhoto
    pixels: Pixels
    picture: bytes


async def enrol(
    claim: Claim,
    photos: Sequence[EnrolmentPhoto],
    lens: Lens,
    comparer: Comparer,
    store: ReferenceStore,
    clock: Callable[[], datetime],
    limits: Limits = LIMITS,
) -> Snapshot:
    """A new version of the model's references, made from these photographs alone, and added to the store.

    Raises Refusal INVALID when a view has fewer than FEWEST_ITEMS items or a picture comes twice, and what reading a
    photograph, the lens and the store raise.
    """
    _check_items(claim, photos)
    reads = await asyncio.to_thread(_read_all, photos, limits)
    _check_pictures(reads)
    features: list[Features] = []
    for start in range(0, len(reads), MOST_PHOTOS):  # not all at once: photographs of cases come in between
        features += await lens.look([read.pixels for read in reads[start : start + MOST_PHOTOS]])
    views = await asyncio.to_thread(_all_views, reads, features, comparer)
    earlier = await asyncio.to_thread(store.latest, claim)
    version = 1 if earlier is None else earlier.version + 1
    snapshot = sealed(Snapshot(claim, version, "", lens.identity.model_digest, clock(), views))
    await asyncio.to_thread(store.add, snapshot, {r.photo.picture_sha256: r.picture for r in reads})
    return snapshot


def _check_items(claim: Claim, photos: Sequence[EnrolmentPhoto]) -> None:
    for view in VIEWS:
        items = {photo.item for photo in photos if photo.view is view}
        if len(items) < FEWEST_ITEMS:
            raise invalid(
                f"{claim.brand} {claim.model}: {len(items)} items have a photograph of the {view.title}; expected at "
                f"least {FEWEST_ITEMS}, better 12: photograph more genuine items"
            )


def _read_all(photos: Sequence[EnrolmentPhoto], limits: Limits) -> list[_Read]:
    return [_read(photo, limits) for photo in photos]


def _read(photo: EnrolmentPhoto, limits: Limits) -> _Read:
    try:
        upload = read_upload(photo.content, limits)
    except Refusal as err:
        where = f"the {photo.view.title} photograph of item {photo.item!r}"
        raise Refusal(err.reason, f"{where}: {err.message}") from err
    known = ReferencePhoto(upload.sha256, sha256(upload.picture), photo.item)
    return _Read(photo.view, known, upload.pixels, upload.picture)


def _check_pictures(reads: Sequence[_Read]) -> None:
    """The same picture under two items would make genuine items look more alike than they are."""
    digest, count = Counter(read.photo.sha256 for read in reads).most_common(1)[0]
    if count == 1:
        return
    where = ", ".join(f"{r.view.title} of item {r.photo.item!r}" for r in reads if r.photo.sha256 == digest)
    raise Refusal(Reason.INVALID, f"one picture comes {count} times: {where}; give each photograph once")


def _all_views(
    reads: Sequence[_Read], features: Sequence[Features], comparer: Comparer
) -> Mapping[View, ViewReferences]:
    seen: defaultdict[View, list[tuple[ReferencePhoto, Features]]] = defaultdict(list)
    for read, found in zip(reads, features, strict=True):
        seen[read.view].append((read.photo, found))
    return {view: _one_view([p for p, _ in seen[view]], [f for _, f in seen[view]], comparer) for view in VIEWS}


def _one_view(photos: Sequence[ReferencePhoto], features: Sequence[Features], comparer: Comparer) -> ViewReferences:
    items = np.array([photo.item for photo in photos])
    origin, patches = _candidates(features)
    banks = _banks(items, origin, patches)
    scores = [
        comparer.compare(f.patches, patches[banks[photo.item]]).score for photo, f in zip(photos, features, strict=True)
    ]
    embeddings = np.stack([f.embedding for f in features])
    whole = banks[None]
    return ViewReferences(
        tuple(photos), embeddings, patches[whole], origin[whole], _spread(scores), _spread(_metric(items, embeddings))
    )


def _candidates(features: Sequence[Features]) -> tuple[NDArray[np.int32], Floats]:
    """The patches that a bank is chosen from: which photo and which patch of it [rows, 2], and their features."""
    kept = [candidates(f.patches, len(features)) for f in features]
    origin = np.concatenate([np.stack([np.full_like(rows, i), rows], axis=1) for i, rows in enumerate(kept)])
    return origin.astype(np.int32), np.concatenate([f.patches[rows] for f, rows in zip(features, kept, strict=True)])


def _banks(items: NDArray[np.str_], origin: NDArray[np.int32], patches: Floats) -> Mapping[str | None, Rows]:
    """Rows of the bank of all items, under None, and of the banks that lack one item, under its name."""
    owner = items[origin[:, 0]]
    names = sorted(set(items.tolist()))
    pools = [np.arange(len(patches)), *(np.flatnonzero(owner != name) for name in names)]
    return dict(zip([None, *names], coresets(patches, pools, BANK_ROWS), strict=True))


def _metric(items: NDArray[np.str_], embeddings: Floats) -> list[float]:
    """Of each photograph, the distance to the nearest one of another item."""
    wide = embeddings.astype(np.float64)
    return [
        float(np.linalg.norm(wide[items != item] - embedding, axis=1).min())
        for item, embedding in zip(items, wide, strict=True)
    ]


def _spread(values: Sequence[float]) -> Spread:
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)))
