"""What LLVM is told of a CPU: the features code may use, and whose scheduling tables to follow.

Both follow from the target's features alone, never from the host's name: virtual machines report wrong names.
"""

from __future__ import annotations

from fusee.base.target import CpuTarget

TRIPLE = "x86_64-unknown-linux-gnu"
BASE_CPU = "x86-64-v3"  # AVX2, FMA, F16C, BMI2: what every supported x86-64 CPU has

# The first whose features the target has; Zen 5 has avx_vnni and no AMX, Zen 4 neither.
_TUNING: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"amx_tile"}), "sapphirerapids"),
    (frozenset({"avx512_bf16", "avx_vnni"}), "znver5"),
    (frozenset({"avx512_bf16"}), "znver4"),
    (frozenset({"avx512_vnni"}), "icelake-server"),
    (frozenset({"avx512f"}), "skylake-avx512"),
    (frozenset({"avx_vnni"}), "alderlake"),
    (frozenset(), "skylake"),
)
_LLVM_FEATURES = {
    "avx512f": "avx512f",
    "avx512bw": "avx512bw",
    "avx512vl": "avx512vl",
    "avx512dq": "avx512dq",
    "avx512_vnni": "avx512vnni",
    "avx_vnni": "avxvnni",
    "avx512_bf16": "avx512bf16",
    "avx512_fp16": "avx512fp16",
    "amx_tile": "amx-tile",
    "amx_int8": "amx-int8",
    "amx_bf16": "amx-bf16",
}


def feature_text(target: CpuTarget) -> str:
    """LLVM's feature string: all that the target has beyond ``BASE_CPU``, with whole 512-bit registers in use."""
    wide = target.vector_bytes == 64
    known = [name for name in _LLVM_FEATURES if name in target.features and (wide or "512" not in name)]
    return ",".join([*(f"+{_LLVM_FEATURES[name]}" for name in known), "-prefer-256-bit"])


def tuning_cpu(target: CpuTarget) -> str:
    """The CPU whose instruction costs LLVM's scheduler is to assume."""
    return next(cpu for needed, cpu in _TUNING if needed <= target.features)


def function_attributes(target: CpuTarget) -> str:
    """The attribute group ``#0`` that every emitted function carries."""
    return f'attributes #0 = {{ nounwind "tune-cpu"="{tuning_cpu(target)}" }}\n'
