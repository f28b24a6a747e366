"""Which engines there are, and the repository that is served."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from assay.errors import Reason, Refusal
from assay.vision.engines import COMPARE, PHOTO, identity_of, serving_folder
from fusee.server.repository.config import read_config


@pytest.fixture
def engines(packed_engines: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "engines"
    folder.mkdir()
    for file in packed_engines.glob("*.*"):
        shutil.copy(file, folder)
    return folder


def test_identity_is_what_packing_recorded(engines: Path) -> None:
    photo, compare = identity_of(engines, PHOTO), identity_of(engines, COMPARE)
    digests = {*photo, *compare}
    assert len(digests) == 4
    assert all(len(digest) == 64 for digest in digests)


def test_an_engine_that_was_not_packed(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"photo\.json is not there; pack the engines for this machine") as refused:
        identity_of(tmp_path, PHOTO)
    assert refused.value.reason is Reason.UNAVAILABLE


def test_an_engine_that_changed_after_packing(engines: Path) -> None:
    with (engines / "compare.fusee").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(Refusal, match=r"compare\.fusee has SHA-256 .*, expected .* as recorded beside it"):
        identity_of(engines, COMPARE)


@pytest.mark.parametrize("record", ["", "[]", "{}", "null", '{"source_sha256": "a"}', "\x80"])
def test_a_record_that_is_none(engines: Path, record: str) -> None:
    (engines / "photo.json").write_text(record, encoding="latin-1")
    with pytest.raises(Refusal, match=r"photo\.json is no record of a packed engine"):
        identity_of(engines, PHOTO)


def served_engine(folder: Path) -> Path:
    (only,) = folder.glob("*/*/model.fusee")
    return only


def test_the_repository_says_which_engine_it_serves(engines: Path) -> None:
    folder = serving_folder(engines)
    config = read_config(folder / PHOTO / "config.pbtxt", "config.pbtxt")
    named = {name: value.string_value for name, value in config.parameters.items()}
    assert named == {
        "model_sha256": identity_of(engines, PHOTO).model_digest,
        "engine_sha256": identity_of(engines, PHOTO).engine_digest,
    }
    assert config.max_batch_size == 16
    assert served_engine(folder).read_bytes() == (engines / "photo.fusee").read_bytes()
    assert sorted(p.name for p in engines.iterdir() if p.name.startswith(".")) == []


def test_the_repository_follows_the_engine(engines: Path) -> None:
    serving_folder(engines)
    (engines / "compare.fusee").replace(engines / "photo.fusee")
    (engines / "compare.json").replace(engines / "photo.json")
    folder = serving_folder(engines)
    assert served_engine(folder).read_bytes() == (engines / "photo.fusee").read_bytes()
    assert identity_of(engines, PHOTO).engine_digest in (folder / PHOTO / "config.pbtxt").read_text()


def test_an_up_to_date_repository_is_left_alone(engines: Path) -> None:
    config = serving_folder(engines) / PHOTO / "config.pbtxt"
    before = config.stat()
    serving_folder(engines)
    assert (config.stat().st_ino, config.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
