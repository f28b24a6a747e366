"""How many threads an engine gets when the caller does not say."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

_CPU = Path("/sys/devices/system/cpu")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@cache
def default_threads() -> int:
    """Physical cores this process may use, within the container's quota."""
    siblings = {_siblings(cpu) for cpu in os.sched_getaffinity(0)}
    return max(1, min(len(siblings), _quota()))


def _siblings(cpu: int) -> str:
    """The hardware threads of a CPU's core, as text; the CPU alone when the system does not say."""
    path = _CPU / f"cpu{cpu}" / "topology" / "thread_siblings_list"
    return path.read_text().strip() if path.exists() else str(cpu)


def _quota() -> int:
    """Whole CPUs that control groups allow."""
    text = _QUOTA.read_text().split() if _QUOTA.exists() else ["max"]
    if text[0] == "max":
        return 1 << 20
    return max(1, int(text[0]) // int(text[1]))
