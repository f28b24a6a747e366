"""Regions of shared memory: what may be registered, what is read and written, and what is refused, how."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusee.server import shared_memory
from fusee.server.errors import Reason, ServingError
from fusee.server.shared_memory import FOLDER, SharedMemory
from fusee.server.types import Region

SIZE = 4096


@pytest.fixture
def file() -> Iterator[Path]:
    """A file in /dev/shm of SIZE bytes that count up."""
    path = FOLDER / f"fusee_test_{uuid.uuid4().hex}"
    path.write_bytes((np.arange(SIZE) % 251).astype(np.uint8).tobytes())
    yield path
    path.unlink()


@pytest.fixture
def regions() -> Iterator[SharedMemory]:
    regions = SharedMemory("/fusee_test_")
    yield regions
    regions.unregister("")


def refusal(call: object, *arguments: object) -> ServingError:
    with pytest.raises(ServingError) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_region_is_read_and_written_in_its_place(regions: SharedMemory, file: Path):
    regions.register("input", f"/{file.name}", 100, 200)
    assert bytes(regions.read(Region("input", 10, 5))) == file.read_bytes()[110:115]
    regions.write(Region("input", 20, 8), b"\xff" * 6)
    assert file.read_bytes()[119:128] == bytes([119, *[255] * 6, 126, 127])


def test_what_was_read_does_not_change_afterwards(regions: SharedMemory, file: Path):
    regions.register("input", file.name, 0, SIZE)
    content = regions.read(Region("input", 0, 4))
    file.write_bytes(b"\x09" * SIZE)
    assert bytes(content) == b"\x00\x01\x02\x03"


def test_arrays_are_written_without_being_bytes_first(regions: SharedMemory, file: Path):
    regions.register("output", file.name, 0, SIZE)
    regions.write(Region("output", 8, 24), memoryview(np.array([1.5, 2.5, 3.5])))
    assert np.frombuffer(file.read_bytes()[8:32]).tolist() == [1.5, 2.5, 3.5]


def test_status_says_what_is_registered(regions: SharedMemory, file: Path):
    regions.register("a", f"/{file.name}", 0, 64)
    regions.register("b", file.name, 64, 32)
    a = {"name": "a", "key": f"/{file.name}", "offset": 0, "byte_size": 64}
    b = {"name": "b", "key": file.name, "offset": 64, "byte_size": 32}
    assert regions.status("") == {"regions": {"a": a, "b": b}}
    assert regions.status("b") == {"regions": {"b": b}}
    regions.unregister("a")
    error = refusal(regions.status, "a")
    assert (error.reason, error.message) == (Reason.NOT_FOUND, "Unable to find system shared memory region: 'a'")


def test_unregistering_closes_files_and_does_not_mind_unknown_names(regions: SharedMemory, file: Path):
    before = open_files()
    for name in "abc":
        regions.register(name, file.name, 0, 8)
    assert open_files() == before + 3
    regions.unregister("nobody")
    regions.unregister("a")
    regions.unregister("")
    assert open_files() == before
    assert regions.status("") == {"regions": {}}


def test_a_name_is_registered_once(regions: SharedMemory, file: Path):
    regions.register("input", file.name, 0, 8)
    before = open_files()
    error = refusal(regions.register, "input", file.name, 0, 8)
    assert error.reason is Reason.ALREADY_EXISTS
    assert error.message == "shared memory region 'input' already in manager"
    assert open_files() == before


def test_without_a_prefix_nothing_is_registered(file: Path):
    off = SharedMemory(None)
    error = refusal(off.register, "input", file.name, 0, 8)
    assert error.reason is Reason.UNSUPPORTED
    assert "--shared-memory-prefix" in error.message
    off.unregister("")
    assert off.status("") == {"regions": {}}


@pytest.mark.parametrize("prefix", ["", "/", "/fusee_test_", "fusee_test_"])
def test_a_prefix_may_be_written_with_a_slash_or_without(prefix: str, file: Path):
    regions = SharedMemory(prefix)
    regions.register("a", f"/{file.name}", 0, 8)
    regions.register("b", file.name, 0, 8)
    regions.unregister("")


def test_keys_begin_with_the_prefix(file: Path):
    error = refusal(SharedMemory("/camera_").register, "input", f"/{file.name}", 0, 8)
    assert error.reason is Reason.FORBIDDEN
    assert error.message == f"shared memory region 'input': key '/{file.name}' does not begin with '/camera_'"


@pytest.mark.parametrize(
    "key", ["", "/", ".", "..", "/..", "//a", "a/b", "../etc/passwd", "a\0b", "é", "a" * 256, "a b"]
)
def test_a_key_is_one_component_of_a_path(key: str):
    error = refusal(SharedMemory("").register, "input", key, 0, 8)
    assert error.reason is Reason.INVALID
    assert error.message.startswith("Invalid shared memory region: '")


@given(key=st.text())
def test_no_key_leaves_the_folder(key: str):
    error = refusal(SharedMemory("fusee_test_").register, "input", key, 0, 8)
    assert error.reason in (Reason.INVALID, Reason.FORBIDDEN)


def test_links_are_not_followed(regions: SharedMemory, file: Path, tmp_path: Path):
    (tmp_path / "secret").write_bytes(b"secret")
    link = FOLDER / f"{file.name}_link"
    link.symlink_to(tmp_path / "secret")
    try:
        error = refusal(regions.register, "input", link.name, 0, 6)
    finally:
        link.unlink()
    assert error.reason is Reason.INVALID
    assert error.message.startswith(f"Unable to open shared memory region: '{link.name}'")


def test_only_regular_files_are_registered(regions: SharedMemory, file: Path):
    pipe = FOLDER / f"{file.name}_pipe"
    os.mkfifo(pipe)
    before = open_files()
    try:
        error = refusal(regions.register, "input", pipe.name, 0, 6)
    finally:
        pipe.unlink()
    assert (error.reason, open_files()) == (Reason.FORBIDDEN, before)
    assert "no regular file" in error.message


def test_files_of_other_users_are_refused(file: Path):
    other = os.geteuid() + 1
    error = refusal(SharedMemory("", frozenset({other})).register, "input", file.name, 0, 8)
    assert error.reason is Reason.FORBIDDEN
    assert f"belongs to user {os.geteuid()}, expected one of {other}" in error.message


def test_a_key_without_a_file(regions: SharedMemory):
    error = refusal(regions.register, "input", "/fusee_test_none", 0, 8)
    assert error.reason is Reason.INVALID
    assert error.message == "Unable to open shared memory region: '/fusee_test_none': No such file or directory"


@pytest.mark.parametrize(
    ("offset", "size"), [(0, SIZE + 1), (SIZE, 1), (1, SIZE), (0, 0), (-1, 8), (0, -1), (1 << 70, 8)]
)
def test_a_region_lies_within_its_file(regions: SharedMemory, file: Path, offset: int, size: int):
    before = open_files()
    error = refusal(regions.register, "input", file.name, offset, size)
    assert (error.reason, open_files()) == (Reason.INVALID, before)
    assert error.message.startswith("failed to register shared memory region 'input': invalid args")


@given(offset=st.integers(-10, 120), size=st.integers(-10, 120))
def test_no_place_outside_its_region_is_touched(offset: int, size: int):
    path = FOLDER / f"fusee_test_{uuid.uuid4().hex}"
    path.write_bytes(b"\1" * 128)
    regions = SharedMemory("fusee_test_")
    regions.register("r", path.name, 16, 96)
    place = Region("r", offset, size)
    try:
        if 0 <= offset < 96 and 0 <= size <= 96 - offset:
            assert bytes(regions.read(place)) == b"\1" * size
            regions.write(place, b"\2" * size)
            assert path.read_bytes() == b"\1" * (16 + offset) + b"\2" * size + b"\1" * (112 - offset - size)
        else:
            assert refusal(regions.read, place).message.startswith("Invalid offset")
            assert refusal(regions.write, place, b"").message.startswith("Invalid offset")
    finally:
        regions.unregister("")
        path.unlink()


def test_more_bytes_than_the_place_has_are_refused(regions: SharedMemory, file: Path):
    regions.register("output", file.name, 0, SIZE)
    before = file.read_bytes()
    error = refusal(regions.write, Region("output", 0, 4), b"12345")
    assert error.message == "5 bytes do not fit into the 4 bytes given in shared memory region 'output'"
    assert file.read_bytes() == before


def test_a_file_cut_after_registration_is_an_error_and_not_a_signal(regions: SharedMemory, file: Path):
    regions.register("input", file.name, 0, SIZE)
    os.truncate(file, 10)
    assert bytes(regions.read(Region("input", 0, 10)))[9] == 9
    for call in (
        lambda: regions.read(Region("input", 0, 11)),
        lambda: regions.write(Region("input", 8, 8), b"12345678"),
    ):
        error = refusal(call)
        assert error.reason is Reason.INVALID
        assert f"was registered up to byte {SIZE} of '{file.name}', which was cut to 10 since" in error.message
    assert file.stat().st_size == 10


def test_a_file_cut_while_it_is_read(regions: SharedMemory, file: Path, monkeypatch: pytest.MonkeyPatch):
    """The size is right when it is checked and no more when the bytes are taken."""
    regions.register("input", file.name, 0, SIZE)
    fstat, cut = os.fstat, lambda fd: (fstat(fd), os.truncate(file, 10))[0]
    monkeypatch.setattr(shared_memory.os, "fstat", cut)
    assert "cut to 10 since" in refusal(regions.read, Region("input", 0, SIZE)).message


def test_unknown_regions_are_not_read(regions: SharedMemory):
    error = refusal(regions.read, Region("nobody", 0, 1))
    assert (error.reason, error.message) == (Reason.NOT_FOUND, "Unable to find shared memory region: 'nobody'")


def test_regions_are_limited_in_number_and_size(regions: SharedMemory, file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shared_memory, "REGION_COUNT", 2)
    monkeypatch.setattr(shared_memory, "TOTAL_BYTES", 100)
    regions.register("a", file.name, 0, 60)
    error = refusal(regions.register, "b", file.name, 0, 41)
    assert error.reason is Reason.OVERLOADED
    assert "all regions together would have 101 bytes, at most 100" in error.message
    regions.register("b", file.name, 0, 40)
    error = refusal(regions.register, "c", file.name, 0, 1)
    assert error.reason is Reason.OVERLOADED
    assert "2 regions are registered" in error.message
    regions.unregister("a")
    regions.register("c", file.name, 0, 1)


def test_a_region_needs_a_name(regions: SharedMemory, file: Path):
    assert refusal(regions.register, "", file.name, 0, 1).message == "a shared memory region needs a name"
