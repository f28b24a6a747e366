"""How many threads an engine gets by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fusee.runtime import cores


@pytest.fixture(autouse=True)
def uncached() -> Iterator[None]:
    cores.default_threads.cache_clear()
    yield
    cores.default_threads.cache_clear()


def machine(monkeypatch: pytest.MonkeyPatch, folder: Path, siblings: dict[int, str], quota: str = "max 100000") -> None:
    """A machine whose CPUs share cores as given, with a quota."""
    for cpu, text in siblings.items():
        path = folder / f"cpu{cpu}" / "topology"
        path.mkdir(parents=True)
        (path / "thread_siblings_list").write_text(text + "\n")
    (folder / "cpu.max").write_text(quota + "\n")
    monkeypatch.setattr(cores, "_CPU", folder)
    monkeypatch.setattr(cores, "_QUOTA", folder / "cpu.max")
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(siblings))


def test_hardware_threads_of_a_core_count_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    machine(monkeypatch, tmp_path, {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"})
    assert cores.default_threads() == 2


@pytest.mark.parametrize(("quota", "threads"), [("150000 100000", 1), ("300000 100000", 3), ("50000 100000", 1)])
def test_a_containers_quota_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, threads: int):
    machine(monkeypatch, tmp_path, {i: str(i) for i in range(8)}, quota)
    assert cores.default_threads() == threads
