"""What a repository's folders are taken for, and what is refused: names and links are not to be trusted."""

from __future__ import annotations

import os
import socket
import string
import tempfile
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusee.server.errors import ServingError
from fusee.server.repository.layout import (
    Refusal,
    Source,
    check_name,
    find_model,
    find_models,
    model_file,
    version_stamp,
)

GOOD = string.ascii_letters + string.digits + "._-"


def touch(path: Path, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def reason(root: Path, name: str) -> str:
    found = find_models([root])[name]
    assert isinstance(found, Refusal), found
    return found.reason


def source(root: Path, name: str) -> Source:
    found = find_models([root])[name]
    assert isinstance(found, Source), found
    assert find_model([root], name) == found
    return found


def test_both_forms_are_found(tmp_path: Path):
    touch(tmp_path / "one.fusee")
    touch(tmp_path / "two.onnx")
    for version in ("1", "3", "12", "0", "01", "x", "-4", ".hidden"):
        touch(tmp_path / "three" / version / "model.fusee")
    touch(tmp_path / "README.md")
    touch(tmp_path / ".git" / "HEAD")
    touch(tmp_path / "lost+found" / "x")
    assert list(find_models([tmp_path])) == ["one", "three", "two"]
    assert source(tmp_path, "one").versions == {"1": tmp_path / "one.fusee"}
    assert list(source(tmp_path, "three").versions) == ["1", "3", "12"]
    assert source(tmp_path, "three").config_path is None
    assert find_model([tmp_path], "README") is None
    assert find_model([tmp_path], "four") is None


def test_a_name_that_means_two_models_is_refused(tmp_path: Path):
    touch(tmp_path / "a" / "m.onnx")
    touch(tmp_path / "a" / "m.fusee")
    assert "several models of this name" in reason(tmp_path / "a", "m")
    touch(tmp_path / "b" / "n" / "1" / "model.fusee")
    touch(tmp_path / "c" / "n.fusee")
    for found in (
        find_models([tmp_path / "b", tmp_path / "c"])["n"],
        find_model([tmp_path / "b", tmp_path / "c"], "n"),
    ):
        assert isinstance(found, Refusal)
        assert f"in {tmp_path / 'b' / 'n'} and {tmp_path / 'c' / 'n.fusee'}; keep one" in found.reason


def test_links_within_the_repository_are_followed_and_no_others(tmp_path: Path):
    root = tmp_path / "root"
    touch(root / "real" / "1" / "model.fusee")
    secret = touch(tmp_path / "elsewhere" / "1" / "model.fusee")
    (root / "alias").symlink_to("real")
    (root / "out").symlink_to(tmp_path / "elsewhere")
    (root / "lost").symlink_to("nowhere")
    (root / "loop").symlink_to("loop")
    (root / "deep").mkdir()
    (root / "deep" / "1").symlink_to(tmp_path / "elsewhere" / "1")
    touch(root / "file" / "2" / "labels")
    (root / "file" / "2" / "model.fusee").symlink_to(secret)
    (root / "conf").mkdir()
    (root / "conf" / "config.pbtxt").symlink_to(secret)
    assert model_file(source(root, "alias"), "1") == root / "real" / "1" / "model.fusee"
    for name in ("out", "deep", "conf"):
        assert "leads out of the repository and is not followed" in reason(root, name)
    for name in ("lost", "loop"):
        assert "leads nowhere" in reason(root, name)
    found = source(root, "file")
    with pytest.raises(ServingError, match=r"model\.fusee: leads out of the repository"):
        model_file(found, "2")
    with pytest.raises(ServingError, match="leads out of the repository"):
        version_stamp(found, "2")


def test_odd_entries_are_refused(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.onnx")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "sock"))
        assert "sock: is neither a folder nor a plain file" in reason(tmp_path, "sock")
    assert "neither a folder nor a plain file" in reason(tmp_path, "pipe.onnx")
    touch(tmp_path / "flat" / "1")
    assert "flat/1: is to be a version's folder" in reason(tmp_path, "flat")
    touch(tmp_path / "my model" / "1" / "model.fusee")
    assert "'my model' cannot be a model's name" in reason(tmp_path, "my model")
    os.mkdir(os.fsencode(tmp_path) + b"/\xff\xfe")
    assert any(
        "cannot be a model's name" in r.reason for r in find_models([tmp_path]).values() if isinstance(r, Refusal)
    )


def test_a_repository_that_is_not_there_says_so(tmp_path: Path):
    assert "cannot be read: No such file or directory" in reason(tmp_path / "gone", "gone")


@pytest.mark.parametrize(
    ("files", "default", "expected"),
    [
        (["model.fusee"], "", "model.fusee"),
        (["model.onnx", "weights.bin"], "", "model.onnx"),
        (["pipeline.py"], "", "pipeline.py"),
        (["other.fusee", "model.onnx"], "other.fusee", "other.fusee"),
        (["weights.bin"], "", None),
    ],
)
def test_the_file_of_a_version(tmp_path: Path, files: list[str], default: str, expected: str | None):
    for name in files:
        touch(tmp_path / "m" / "1" / name)
    found = model_file(source(tmp_path, "m"), "1", default)
    assert (found.name if found else None) == expected


@pytest.mark.parametrize("default", ["../1/model.fusee", "/etc/passwd", "..", ".", "gone.fusee"])
def test_a_default_file_stays_in_its_folder(tmp_path: Path, default: str):
    touch(tmp_path / "m" / "1" / "model.fusee")
    with pytest.raises(ServingError, match=r"without a path|leads nowhere"):
        model_file(source(tmp_path, "m"), "1", default)


def test_two_files_of_a_version_are_not_chosen_between(tmp_path: Path):
    touch(tmp_path / "m" / "1" / "model.fusee")
    touch(tmp_path / "m" / "1" / "model.onnx")
    with pytest.raises(ServingError, match=r"m/1: has model\.fusee and model\.onnx; keep one"):
        model_file(source(tmp_path, "m"), "1")


@given(st.text(max_size=140))
def test_any_name_is_either_taken_or_refused(name: str):
    is_good = 1 <= len(name) <= 128 and name[0] != "." and all(c in GOOD for c in name)
    with nullcontext() if is_good else pytest.raises(ServingError, match="cannot be a model's name"):
        assert check_name(name) == name


@given(st.binary(min_size=1, max_size=60).filter(lambda n: b"/" not in n and b"\0" not in n and n not in (b".", b"..")))
def test_any_directory_entry_is_a_model_or_a_refusal_or_passed_over(name: bytes):
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.fsencode(folder) + b"/" + name)
        for shown, found in find_models([Path(folder)]).items():
            assert found.name == shown
            shown.encode()
            if isinstance(found, Source):
                assert check_name(shown) == os.fsdecode(name)
