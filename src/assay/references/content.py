"""A snapshot as bytes: a header that names its arrays by their hashes, and whose own hash is the snapshot's digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from assay.cases import Claim
from assay.errors import Reason, Refusal
from assay.references.snapshot import ReferencePhoto, Snapshot, Spread, ViewReferences
from assay.views import View

AnyArray = NDArray[Any]
FORMAT = 1  # of the header
_ARRAYS = ("embeddings", "bank", "origin")


class Written(NamedTuple):
    """What a store keeps of a snapshot."""

    header: bytes  # canonical JSON; its SHA-256 is the snapshot's digest
    arrays: Mapping[str, bytes]  # .npy files by SHA-256


class Header(NamedTuple):
    """What a search has to know of a snapshot: all but the arrays."""

    claim: Claim
    photos: Mapping[View, tuple[ReferencePhoto, ...]]
    embeddings: Mapping[View, str]  # SHA-256 of the .npy files


def sealed(snapshot: Snapshot) -> Snapshot:
    """The same with its digest."""
    return replace(snapshot, digest=sha256(written(snapshot).header))


def written(snapshot: Snapshot) -> Written:
    """As bytes: the same snapshot gives the same ones everywhere."""
    arrays: dict[str, bytes] = {}
    views: dict[str, Any] = {}
    for view, known in sorted(snapshot.views.items(), key=lambda item: item[0].value):
        files = {name: npy_bytes(getattr(known, name)) for name in _ARRAYS}
        arrays |= {sha256(content): content for content in files.values()}
        views[view.value] = _view_document(known) | {name: sha256(content) for name, content in files.items()}
    document = {
        "format": FORMAT,
        "claim": [snapshot.claim.brand, snapshot.claim.model],
        "version": snapshot.version,
        "model_digest": snapshot.model_digest,
        "created_at": snapshot.created_at.isoformat(),
        "views": views,
    }
    return Written(json.dumps(document, sort_keys=True, separators=(",", ":")).encode(), arrays)


def _view_document(known: ViewReferences) -> dict[str, Any]:
    return {
        "photos": [list(p) for p in map(_fields, known.photos)],
        "one_class": known.one_class,
        "metric": known.metric,
    }


def _fields(photo: ReferencePhoto) -> tuple[str, str, str]:
    return photo.sha256, photo.picture_sha256, photo.item


def restored(header: bytes, array: Callable[[str], AnyArray]) -> Snapshot:
    """From a header and its arrays by SHA-256; whoever reads them has checked both against their hashes."""
    document = json.loads(header)
    return Snapshot(
        claim=Claim(*document["claim"]),
        version=document["version"],
        digest=sha256(header),
        model_digest=document["model_digest"],
        created_at=datetime.fromisoformat(document["created_at"]),
        views={View(name): _restored_view(known, array) for name, known in document["views"].items()},
    )


def _restored_view(known: Mapping[str, Any], array: Callable[[str], AnyArray]) -> ViewReferences:
    return ViewReferences(
        photos=_photos(known),
        one_class=Spread(*known["one_class"]),
        metric=Spread(*known["metric"]),
        **{name: array(known[name]) for name in _ARRAYS},
    )


def header_of(header: bytes) -> Header:
    document = json.loads(header)
    views = {View(name): known for name, known in document["views"].items()}
    return Header(
        Claim(*document["claim"]),
        {view: _photos(known) for view, known in views.items()},
        {view: known["embeddings"] for view, known in views.items()},
    )


def _photos(known: Mapping[str, Any]) -> tuple[ReferencePhoto, ...]:
    return tuple(ReferencePhoto(*fields) for fields in known["photos"])


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def npy_bytes(array: AnyArray) -> bytes:
    """An array as a .npy file: little-endian, row-major, nothing that depends on when or where."""
    file = BytesIO()
    little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    npy.write_array(file, np.ascontiguousarray(little), version=(1, 0), allow_pickle=False)
    return file.getvalue()


def from_npy(content: bytes) -> AnyArray:
    """Read-only, over the bytes given."""
    file = BytesIO(content)
    npy.read_magic(file)
    shape, _, dtype = npy.read_array_header_1_0(file)
    return np.frombuffer(content, dtype, offset=file.tell()).reshape(shape)


def version_taken(snapshot: Snapshot) -> Refusal:
    """Of a snapshot that a store cannot add, since its model has one of that version."""
    claim, version = snapshot.claim, snapshot.version
    return Refusal(
        Reason.CONFLICT,
        f"{claim.brand} {claim.model} has references of version {version} already, enrolled meanwhile; "
        "look at them, then enrol again",
    )
