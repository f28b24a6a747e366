"""What Linux tells of the machine and of a server's processes, read from /proc."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import NamedTuple

PROC = Path("/proc")
SHORTEST_INTERVAL_S = 0.5  # utilization over less is noise


class Memory(NamedTuple):
    total_bytes: int
    used_bytes: int


class Process(NamedTuple):
    """A process of this server."""

    name: str  # "server", "engine", "frontend-0"
    pid: int
    restarts: int = 0


class ProcessUse(NamedTuple):
    """What a process uses."""

    resident_bytes: int
    cpu_s: float
    open_files: int


def memory(proc: Path = PROC) -> Memory:
    """The machine's memory. Used is what new work could not have (total less MemAvailable)."""
    fields = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())
    total, available = (int(fields[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    return Memory(total, total - available)


def process_use(pid: int, proc: Path = PROC) -> ProcessUse | None:
    """What that process uses now; None when it is gone."""
    folder = proc / str(pid)
    try:
        # Fields follow the name, which is in parentheses and may hold anything: proc(5).
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        open_files = len(os.listdir(folder / "fd"))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return ProcessUse(int(fields[21]) * os.sysconf("SC_PAGE_SIZE"), cpu_s, open_files)


class Processors:
    """How busy the machine's processors were between two looks."""

    def __init__(self, proc: Path = PROC, clock: Callable[[], float] = monotonic) -> None:
        self._path = proc / "stat"
        self._clock = clock
        self._looked_s = clock()
        self._busy, self._all = self._ticks()
        self._utilization = 0.0

    def utilization(self) -> float:
        """From 0 to 1, since the look before; the same again when that was a moment ago."""
        now_s = self._clock()
        if now_s - self._looked_s < SHORTEST_INTERVAL_S:
            return self._utilization
        busy, total = self._ticks()
        if total > self._all:
            self._utilization = min(1.0, max(0.0, (busy - self._busy) / (total - self._all)))
        self._looked_s, self._busy, self._all = now_s, busy, total
        return self._utilization

    def _ticks(self) -> tuple[int, int]:
        # user nice system idle iowait irq softirq steal; guest time is in user already: proc_stat(5)
        ticks = [int(t) for t in self._path.read_text().split("\n", 1)[0].split()[1:9]]
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)
