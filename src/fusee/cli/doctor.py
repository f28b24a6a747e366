"""fusee doctor: what this machine and installation can do."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from fusee.base.target import AVX2, AVX512, FEATURES, CpuTarget, detect_cpu
from fusee.cli.output import console, facts_table, print_json

# package -> what it enables
PACKAGES = {
    "numpy": "everything",
    "ml_dtypes": "everything",
    "onnx": "building from ONNX models",
    "llvmlite": "building for the CPU",
    "typer": "this command line",
    "pillow": "images as inputs of fusee run",
    "onnxruntime": "fusee compare, fusee bench --vs onnxruntime",
    "openvino": "fusee bench --vs openvino",
}


def command(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show CPU features, versions, and what is installed and what that enables."""
    cpu = detect_cpu()
    packages = {name: _version(name) for name in PACKAGES}
    problems = _problems(cpu, packages)
    if as_json:
        print_json(
            {
                "cpu": {"model": cpu.model, "cores": cpu.cores, "isa": cpu.isa, "features": sorted(cpu.features)},
                "cache_bytes": {"l1": cpu.l1_bytes, "l2": cpu.l2_bytes, "l3": cpu.l3_bytes},
                "python": platform.python_version(),
                "packages": packages,
                "problems": problems,
            }
        )
    else:
        _show(cpu, packages, problems)
    if problems:
        raise typer.Exit(2)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _problems(cpu: CpuTarget, packages: dict[str, str | None]) -> list[str]:
    found = [
        f"{name} is not installed: it is needed for {use}" for name, use in PACKAGES.items() if use == "everything"
    ]
    found = [text for text in found if packages[text.split()[0]] is None]
    if missing := sorted(cpu.lacks(AVX2)):
        found.append(f"the CPU lacks {', '.join(missing)}; engines need at least AVX2, FMA and F16C")
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        found.append(f"{platform.system()} on {platform.machine()}: engines run on Linux on x86-64")
    return found


def _show(cpu: CpuTarget, packages: dict[str, str | None], problems: list[str]) -> None:
    caches = ", ".join(
        f"L{i} {size >> 10} KiB" for i, size in ((1, cpu.l1_bytes), (2, cpu.l2_bytes), (3, cpu.l3_bytes))
    )
    level = "AVX-512" if cpu.features >= AVX512 else "AVX2" if cpu.features >= AVX2 else "none that Fusee uses"
    facts = {"CPU": cpu.model, "cores": cpu.cores, "caches": caches, "vectors": level}
    console.print(facts_table(facts, "Machine"))
    features = {name: f"{'yes' if name in cpu.features else 'no '}  {use}" for name, use in FEATURES.items()}
    console.print(facts_table(features, "\nFeatures"))
    rows = {name: f"{found or 'not installed':<14} {PACKAGES[name]}" for name, found in packages.items()}
    console.print(facts_table({"python": platform.python_version(), **rows}, "\nInstalled"))
    for problem in problems:
        console.print(f"\n[red]problem[/red]: {problem}")
    if not problems:
        console.print("\n[green]ready[/green]")
