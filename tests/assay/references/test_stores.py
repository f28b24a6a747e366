"""What every store of references promises."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from tests.assay.references.making import (
    AURELLE,
    BRIONNE,
    a_snapshot,
    assert_equal_snapshots,
    pictures,
    unit_rows,
)

from assay.cases import Claim
from assay.errors import Reason, Refusal
from assay.references.content import sealed
from assay.references.snapshot import Neighbour, ReferenceStore, Snapshot
from assay.views import VIEWS, View
from assay.vision.lens import EMBEDDING, Floats


def brute_force(snapshots: list[Snapshot], view: View, embedding: Floats, most: int) -> list[Neighbour]:
    everything = [
        Neighbour(s.claim, photo, float(np.linalg.norm(row.astype(np.float64) - embedding)))
        for s in sorted(snapshots, key=lambda s: (s.claim.brand, s.claim.model))
        for photo, row in zip(s.views[view].photos, s.views[view].embeddings, strict=True)
    ]
    return sorted(everything, key=lambda neighbour: neighbour.distance)[:most]


def test_an_empty_store(store: ReferenceStore) -> None:
    assert store.models() == []
    assert store.latest(AURELLE) is None
    assert store.by_digest("0" * 64) is None
    assert store.picture("0" * 64) is None
    assert store.picture("../pictures/" + "0" * 64) is None
    embedding = unit_rows(np.random.default_rng(0), 1, EMBEDDING)[0]
    assert store.nearest(View.LOGO, [embedding, embedding], 3) == [[], []]


def test_gives_back_what_was_added(open_store: Callable[[], ReferenceStore]) -> None:
    snapshot = a_snapshot()
    open_store().add(snapshot, pictures(snapshot))
    store = open_store()
    assert store.models() == [AURELLE]
    assert_equal_snapshots(store.latest(AURELLE), snapshot)
    assert_equal_snapshots(store.by_digest(snapshot.digest), snapshot)
    for digest, content in pictures(snapshot).items():
        assert store.picture(digest) == content
    assert store.latest(Claim("Aurelle", "cabas")) is None


def test_keeps_every_version_and_knows_the_latest(store: ReferenceStore) -> None:
    versions = [a_snapshot(version=v, photos=3 + v) for v in (1, 2, 3)]
    for snapshot in versions:
        store.add(snapshot, {})
    assert_equal_snapshots(store.latest(AURELLE), versions[2])
    for snapshot in versions:
        assert_equal_snapshots(store.by_digest(snapshot.digest), snapshot)


def test_refuses_a_version_that_is_taken_and_stays_as_it_was(open_store: Callable[[], ReferenceStore]) -> None:
    store, first = open_store(), a_snapshot(seed=1)
    store.add(first, {})
    with pytest.raises(Refusal, match="Aurelle Cabas has references of version 1 already") as refused:
        open_store().add(a_snapshot(seed=2), {})
    assert refused.value.reason is Reason.CONFLICT
    assert_equal_snapshots(store.latest(AURELLE), first)
    embedding = first.views[View.LOGO].embeddings[0]
    assert store.nearest(View.LOGO, [embedding], 9)[0] == brute_nearly(brute_force([first], View.LOGO, embedding, 9))


def brute_nearly(neighbours: list[Neighbour]) -> list[Neighbour]:
    """Distances that are equal but for rounding in 32 bits."""
    return [n._replace(distance=pytest.approx(n.distance, abs=2e-6)) for n in neighbours]


def test_search_looks_at_every_reference_of_all_models(open_store: Callable[[], ReferenceStore]) -> None:
    snapshots = [a_snapshot(Claim(f"Brand {i % 3}", f"Model {i}"), seed=i, photos=4 + i) for i in range(7)]
    writer, reader = open_store(), open_store()
    embeddings = list(unit_rows(np.random.default_rng(9), 4, EMBEDDING))
    for count, snapshot in enumerate(snapshots, start=1):
        writer.add(snapshot, {})
        found = reader.nearest(View.STITCHING, embeddings, 10)
        for embedding, neighbours in zip(embeddings, found, strict=True):
            assert neighbours == brute_nearly(brute_force(snapshots[:count], View.STITCHING, embedding, 10))


def test_search_finds_only_the_latest_version_of_a_model(open_store: Callable[[], ReferenceStore]) -> None:
    writer, reader = open_store(), open_store()
    old, other, new = a_snapshot(version=1), a_snapshot(BRIONNE), a_snapshot(version=2)
    for snapshot in (old, other):
        writer.add(snapshot, {})
    embedding = old.views[View.LINING].embeddings[2]
    assert reader.nearest(View.LINING, [embedding], 1)[0][0].photo == old.views[View.LINING].photos[2]
    writer.add(new, {})
    found = reader.nearest(View.LINING, [embedding], 99)[0]
    assert found == brute_nearly(brute_force([new, other], View.LINING, embedding, 99))


def test_a_new_version_of_the_same_photographs_is_told_by_their_new_names(
    open_store: Callable[[], ReferenceStore],
) -> None:
    writer, reader = open_store(), open_store()
    first = a_snapshot()
    embedding = first.views[View.LOGO].embeddings[0]
    writer.add(first, {})
    assert reader.nearest(View.LOGO, [embedding], 1)[0][0].photo.item.startswith("item of")
    views = {
        view: replace(known, photos=tuple(replace(photo, item=f"No. {i}") for i, photo in enumerate(known.photos)))
        for view, known in first.views.items()
    }
    writer.add(sealed(replace(first, version=2, views=views)), {})
    assert reader.nearest(View.LOGO, [embedding], 1)[0][0].photo.item == "No. 0"


def test_threads_may_add_and_search_at_once(store: ReferenceStore) -> None:
    snapshots = [a_snapshot(Claim("Brand", f"Model {i}"), seed=i) for i in range(8)]
    embedding = unit_rows(np.random.default_rng(3), 1, EMBEDDING)[0]

    def add_and_search(snapshot: Snapshot) -> None:
        store.add(snapshot, pictures(snapshot))
        assert len(store.nearest(View.HARDWARE, [embedding], 5)[0]) == 5
        assert_equal_snapshots(store.latest(snapshot.claim), snapshot)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add_and_search, snapshots))
    for view in VIEWS:
        assert store.nearest(view, [embedding], 99)[0] == brute_nearly(brute_force(snapshots, view, embedding, 99))
