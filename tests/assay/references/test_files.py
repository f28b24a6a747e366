"""References in a folder: damage is found, and processes do not disturb each other."""

from __future__ import annotations

import multiprocessing
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from tests.assay.references.making import AURELLE, a_snapshot, assert_equal_snapshots, pictures

from assay.errors import Reason, Refusal, invalid
from assay.references import FileReferences, open_references
from assay.references.content import sha256
from assay.settings import Settings
from assay.views import View

VERSIONS = 8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    snapshot = a_snapshot()
    FileReferences(tmp_path).add(snapshot, pictures(snapshot))
    return tmp_path


def test_every_file_is_named_after_its_content(folder: Path) -> None:
    files = [file for kind in ("arrays", "indexes", "pictures") for file in (folder / kind).iterdir()]
    assert len(files) > 20
    assert [file.stem for file in files] == [sha256(file.read_bytes()) for file in files]


def test_only_pictures_are_given_as_pictures(folder: Path) -> None:
    picture = next((folder / "pictures").iterdir()).stem
    (folder / "secret.jpg").write_text("secret")
    store = FileReferences(folder)
    assert store.picture(picture) is not None
    assert store.picture("../secret") is None
    assert store.picture(f"../pictures/{picture}") is None


@pytest.mark.parametrize("kind", ["arrays", "pictures"])
@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_damage_is_found_before_it_is_used(folder: Path, kind: str, damage: str) -> None:
    for file in (folder / kind).iterdir():
        file.write_bytes(file.read_bytes()[:-1] + b"~") if damage == "changed" else file.unlink()
    store, known = FileReferences(folder), pictures(a_snapshot())
    if kind == "pictures" and damage == "gone":
        assert store.picture(next(iter(known))) is None
        return
    read = partial(store.latest, AURELLE) if kind == "arrays" else partial(store.picture, next(iter(known)))
    with pytest.raises(Refusal, match="restore it from a backup") as refused:
        read()
    assert refused.value.reason is Reason.UNAVAILABLE


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_index_is_not_searched(folder: Path, damage: str) -> None:
    for file in (folder / "indexes").iterdir():
        file.write_bytes(file.read_bytes()[:-1] + b"~") if damage == "changed" else file.unlink()
    embedding = a_snapshot().views[View.LOGO].embeddings[0]
    with pytest.raises(Refusal, match=r"restore it from a backup|enrol any model to write it again") as refused:
        FileReferences(folder).nearest(View.LOGO, [embedding], 1)
    assert refused.value.reason is Reason.UNAVAILABLE


def test_indexes_that_nothing_names_are_removed(folder: Path) -> None:
    FileReferences(folder).add(a_snapshot(version=2), {})
    assert len(list((folder / "indexes").iterdir())) == len(View)


def test_rows_that_are_no_database(tmp_path: Path) -> None:
    (tmp_path / "references.sqlite").write_text("no database" * 100)
    with pytest.raises(Refusal, match=r"references\.sqlite: file is not a database") as refused:
        FileReferences(tmp_path)
    assert refused.value.reason is Reason.UNAVAILABLE


def read_until_the_last_version(folder: Path, ready: Connection) -> None:
    """In another process: every version that is seen is whole, and versions only go up."""
    store, seen = FileReferences(folder), 0
    embedding = a_snapshot(version=1).views[View.LOGO].embeddings[0]
    while seen < VERSIONS:
        snapshot = store.latest(AURELLE)
        if snapshot is None:
            raise invalid("the snapshot is gone")
        assert_equal_snapshots(snapshot, a_snapshot(version=snapshot.version))
        assert len(store.nearest(View.LOGO, [embedding], 5)[0]) == 5
        assert snapshot.version >= seen
        if not seen:
            ready.send("reading")
        seen = snapshot.version


def test_another_process_reads_while_this_one_enrols(tmp_path: Path) -> None:
    store = FileReferences(tmp_path)
    store.add(a_snapshot(version=1), {})
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    reader = spawning.Process(target=read_until_the_last_version, args=(tmp_path, there))
    reader.start()
    assert here.recv() == "reading"
    for version in range(2, VERSIONS + 1):
        store.add(a_snapshot(version=version), {})
    reader.join(60)
    assert reader.exitcode == 0


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"references": "shelf"}, "references is 'shelf'; expected files or pgvector"),
        ({"references": "pgvector"}, "references is pgvector, but store_url is ''"),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, settings: dict[str, str], expected: str) -> None:
    with pytest.raises(Refusal, match=expected) as refused:
        open_references(Settings(tmp_path, **settings))
    assert refused.value.reason is Reason.INVALID
