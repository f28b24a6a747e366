"""Facts of the machine that belong beside every figure."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

INTERESTING_FLAGS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512bw",
    "avx_vnni",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
)
PACKAGES = ("fusee", "numpy", "onnx", "onnxruntime", "openvino")


def machine_facts() -> dict[str, Any]:
    """CPU, caches, memory, system and versions; nothing that names the machine."""
    processor = _processor()
    flags = processor.get("flags", "").split()
    return {
        "cpu": processor.get("model name", platform.processor()),
        "family": f"family {processor.get('cpu family', '?')}, model {processor.get('model', '?')}",
        "isa": [flag for flag in INTERESTING_FLAGS if flag in flags],
        "cores": len(os.sched_getaffinity(0)),
        "caches": _caches(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": _versions(PACKAGES),
    }


def load_average() -> float:
    """Processes that wanted to run, averaged over the last minute."""
    return os.getloadavg()[0]


def busy_core_s() -> float:
    """Core seconds that all processes and the system have used since the start, with what the host took away."""
    user, nice, system, _, _, irq, softirq, steal, *_ = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _processor() -> dict[str, str]:
    """The first processor's entries in /proc/cpuinfo."""
    first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _caches() -> dict[str, str]:
    folders = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"))
    return {
        f"L{(folder / 'level').read_text().strip()} {(folder / 'type').read_text().strip().lower()}": (folder / "size")
        .read_text()
        .strip()
        for folder in folders
    }


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
