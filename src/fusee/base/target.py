"""Facts of a machine that an engine is made for, and the check that another machine fits."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

# Linux's names for x86-64 features, with what they bring; a target lists those that kernels use.
FEATURES = {
    "avx2": "256-bit integer and float vectors",
    "fma": "fused multiply-add",
    "f16c": "conversion between f16 and f32",
    "avx512f": "512-bit vectors",
    "avx512bw": "512-bit vectors of bytes and words",
    "avx512vl": "512-bit instructions on shorter vectors",
    "avx512dq": "512-bit 64-bit integer arithmetic",
    "avx512_vnni": "8-bit dot products on 512-bit vectors",
    "avx_vnni": "8-bit dot products on 256-bit vectors",
    "avx512_bf16": "bf16 dot products and conversion",
    "avx512_fp16": "f16 arithmetic",
    "amx_tile": "tile registers",
    "amx_int8": "8-bit tile products",
    "amx_bf16": "bf16 tile products",
}
AVX2 = frozenset({"avx2", "fma", "f16c"})
AVX512 = AVX2 | {"avx512f", "avx512bw", "avx512vl", "avx512dq"}


@dataclass(frozen=True)
class CpuTarget:
    """An x86-64 CPU: its vector features, physical cores and cache sizes."""

    features: frozenset[str]
    cores: int
    l1_bytes: int = 32 << 10
    l2_bytes: int = 1 << 20
    l3_bytes: int = 32 << 20
    model: str = "x86-64"

    @property
    def vector_bytes(self) -> int:
        """The width of the widest vectors that kernels may use: 64 with AVX-512, 32 with AVX2."""
        return 64 if self.features >= AVX512 else 32

    @property
    def vector_registers(self) -> int:
        return 32 if self.vector_bytes == 64 else 16

    @property
    def isa(self) -> str:
        """``avx512`` or ``avx2``: the generator's level."""
        return "avx512" if self.vector_bytes == 64 else "avx2"

    def lacks(self, needed: frozenset[str]) -> frozenset[str]:
        """Which of the features that an engine needs this machine does not have."""
        return needed - self.features

    def with_isa(self, isa: str) -> CpuTarget:
        """The same machine restricted to ``avx2`` or left at ``avx512``: for tests and portable engines."""
        kept = self.features if isa == "avx512" else self.features & AVX2
        return CpuTarget(kept, self.cores, self.l1_bytes, self.l2_bytes, self.l3_bytes, self.model)


def detect_cpu() -> CpuTarget:
    """The facts of this machine, from /proc/cpuinfo and /sys."""
    facts = _cpuinfo()
    return CpuTarget(
        features=frozenset(facts.get("flags", "").split()) & FEATURES.keys(),
        cores=len(os.sched_getaffinity(0)),
        l1_bytes=_cache_bytes("1", "Data", 32 << 10),
        l2_bytes=_cache_bytes("2", "Unified", 1 << 20),
        l3_bytes=_cache_bytes("3", "Unified", 32 << 20),
        model=facts.get("model name", platform.processor() or platform.machine()),
    )


def _cpuinfo() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    pairs = (line.split(":", 1) for line in path.read_text().split("\n\n")[0].splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _cache_bytes(level: str, kind: str, default: int) -> int:
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        found = {
            name: (index / name).read_text().strip() for name in ("level", "type", "size") if (index / name).exists()
        }
        if found.get("level") == level and found.get("type") == kind and found.get("size", "").endswith("K"):
            return int(found["size"][:-1]) << 10
    return default
