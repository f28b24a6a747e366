"""From photographs to references, with engines of an untrained network."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.assay.references.making import AURELLE, NOON, EngineLens, assert_equal_snapshots, enrolment

from assay.cases import Claim
from assay.errors import Reason, Refusal
from assay.imaging.uploads import read_upload
from assay.references import EnrolmentPhoto, FileReferences, enrol
from assay.references import enrolment as enrolment_room
from assay.references.coreset import BANK_ROWS
from assay.references.enrolment import LIMITS
from assay.references.snapshot import Snapshot
from assay.views import VIEWS, View
from assay.vision import Comparer
from assay.vision.lens import Features
from fusee.runtime.engine import load

pytestmark = pytest.mark.runs_alone
ITEMS = 5


class Bench:
    """Engines and a store."""

    def __init__(self, engines: Path, folder: Path) -> None:
        self.comparer = Comparer(engines)
        self.engine = load(engines / "photo.fusee")
        self.lens = EngineLens(self.engine)
        self.store = FileReferences(folder)

    def enrol(self, photos: Sequence[EnrolmentPhoto], claim: Claim = AURELLE) -> Snapshot:
        return asyncio.run(enrol(claim, photos, self.lens, self.comparer, self.store, lambda: NOON))

    def look(self, photos: Sequence[EnrolmentPhoto]) -> list[Features]:
        return asyncio.run(self.lens.look([read_upload(p.content, LIMITS).pixels for p in photos]))


@pytest.fixture(scope="module")
def bench(packed_engines: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(packed_engines, tmp_path_factory.mktemp("references"))
    yield made
    made.comparer.close()
    made.engine.close()


@pytest.fixture(scope="module")
def snapshot(bench: Bench) -> Snapshot:
    return bench.enrol(enrolment(ITEMS))


def logos(count: int) -> list[EnrolmentPhoto]:
    return [photo for photo in enrolment(count) if photo.view is View.LOGO]


def test_every_view_is_known_and_kept(bench: Bench, snapshot: Snapshot) -> None:
    assert tuple(snapshot.views) == VIEWS
    assert (snapshot.claim, snapshot.version, snapshot.model_digest) == (AURELLE, 1, "model")
    assert snapshot.created_at == NOON
    assert_equal_snapshots(bench.store.by_digest(snapshot.digest), snapshot)
    for known in snapshot.views.values():
        assert [photo.item for photo in known.photos] == [f"item {i}" for i in range(ITEMS)]
        assert len(known.bank) == len(known.origin) == min(BANK_ROWS, ITEMS * 400)


def test_pictures_are_kept_as_they_are_shown(bench: Bench, snapshot: Snapshot) -> None:
    for photo, known in zip(logos(ITEMS), snapshot.views[View.LOGO].photos, strict=True):
        upload = read_upload(photo.content, LIMITS)
        assert known.sha256 == upload.sha256
        assert bench.store.picture(known.picture_sha256) == upload.picture


def test_each_row_of_the_bank_is_the_patch_that_it_says(bench: Bench, snapshot: Snapshot) -> None:
    patches = np.stack([features.patches for features in bench.look(logos(ITEMS))])
    known = snapshot.views[View.LOGO]
    np.testing.assert_array_equal(known.bank, patches[known.origin[:, 0], known.origin[:, 1]])
    assert set(known.origin[:, 0].tolist()) == set(range(ITEMS))


def nearest_others(features: Sequence[Features]) -> NDArray[np.float64]:
    """The distance of each embedding to the nearest other one."""
    embeddings = np.stack([f.embedding for f in features]).astype(np.float64)
    distances = np.linalg.norm(embeddings[:, np.newaxis] - embeddings, axis=2)
    return (distances + 9 * np.eye(len(features))).min(axis=1)


def test_metric_spread_is_of_distances_to_other_items(bench: Bench, snapshot: Snapshot) -> None:
    nearest = nearest_others(bench.look(logos(ITEMS)))
    found = snapshot.views[View.LOGO].metric
    assert found.mean == pytest.approx(nearest.mean(), abs=1e-7)
    assert found.deviation == pytest.approx(nearest.std(ddof=1), abs=1e-7)


def test_one_class_spread_is_of_items_that_the_bank_lacks(bench: Bench, snapshot: Snapshot) -> None:
    """Near what all patches of the other items give, and above it: a bank holds few of them."""
    features = bench.look(logos(ITEMS))
    scores = []
    for left_out in range(ITEMS):
        others = np.concatenate([f.patches for i, f in enumerate(features) if i != left_out])
        scores.append(bench.comparer.compare(features[left_out].patches, others).score)
    found, known = snapshot.views[View.LOGO].one_class, snapshot.views[View.LOGO]
    assert np.mean(scores) <= found.mean <= 1.3 * np.mean(scores)
    inside = [bench.comparer.compare(f.patches, known.bank).score for f in features]
    assert np.mean(inside) < found.mean


def test_the_same_photographs_give_the_same_references(bench: Bench, snapshot: Snapshot, tmp_path: Path) -> None:
    bench_again = Bench.__new__(Bench)
    bench_again.comparer, bench_again.lens = bench.comparer, bench.lens
    bench_again.store = FileReferences(tmp_path)
    assert bench_again.enrol(enrolment(ITEMS)).digest == snapshot.digest


@pytest.fixture
def small_banks(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that do not look at banks: they are made sooner."""
    monkeypatch.setattr(enrolment_room, "BANK_ROWS", 32)


@pytest.mark.usefixtures("small_banks")
def test_photographs_of_one_item_are_left_out_together(bench: Bench) -> None:
    """Two photographs of an item that hardly differ would otherwise look like two items that do."""
    photos = enrolment(4)
    twins = [photo._replace(content=with_comment(photo.content)) for photo in photos]
    found = bench.enrol([*photos, *twins], Claim("Brand", "Twins")).views[View.LOGO]
    assert found.metric.mean == pytest.approx(nearest_others(bench.look(logos(4))).mean(), abs=1e-7)
    assert len(found.photos) == 8


def with_comment(jpeg: bytes) -> bytes:
    """Another file of the same picture."""
    return jpeg[:2] + b"\xff\xfe\x00\x08second" + jpeg[2:]


@pytest.mark.usefixtures("small_banks")
def test_enrolling_again_makes_the_next_version(bench: Bench) -> None:
    claim = Claim("Brand", "Again")
    first, second = bench.enrol(enrolment(4), claim), bench.enrol(enrolment(4)[::-1], claim)
    assert (first.version, second.version) == (1, 2)
    assert_equal_snapshots(bench.store.latest(claim), second)


def test_too_few_items_are_refused(bench: Bench) -> None:
    photos = [photo for photo in enrolment(6) if photo.view is not View.LINING or photo.item in ("item 0", "item 1")]
    with pytest.raises(Refusal, match="2 items have a photograph of the lining; expected at least 4") as refused:
        bench.enrol(photos)
    assert refused.value.reason is Reason.INVALID


def test_a_picture_that_comes_twice_is_refused(bench: Bench) -> None:
    photos = enrolment(5)
    photos[7] = photos[7]._replace(content=photos[1].content)
    with pytest.raises(Refusal, match="one picture comes 2 times: logo of item 'item 0', logo of item 'item 1'"):
        bench.enrol(photos)


def test_an_unreadable_photograph_is_named(bench: Bench) -> None:
    photos = enrolment(4)
    photos[8] = photos[8]._replace(content=photos[8].content[:300])
    with pytest.raises(Refusal, match="the stitching photograph of item 'item 1'") as refused:
        bench.enrol(photos)
    assert refused.value.reason is Reason.UNREADABLE
