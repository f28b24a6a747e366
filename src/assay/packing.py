"""Trained networks into engines for this machine: verified, or not written. The one place that needs the compiler."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import fusee
from fusee.base.errors import FuseeError
from fusee.base.target import CpuTarget, detect_cpu

ENGINES = ("photo", "compare")  # those that the application runs
NATIVE, AVX2 = "native", "avx2"  # for this machine; for any x86-64 with AVX2, so that different machines share engines


class PackingError(FuseeError):
    """The networks cannot be packed."""


@dataclass(frozen=True)
class Packed:
    """One engine."""

    engine: Path
    source_sha256: str
    build_s: float | None  # None: it was there, made from the same network for this machine by this compiler


def pack(
    models: Path,
    engines: Path,
    names: Sequence[str] = ENGINES,
    progress: Callable[[str], None] = lambda _: None,
    isa: str = NATIVE,
) -> tuple[Packed, ...]:
    """Builds ``engines/<name>.fusee`` from ``models/<name>.onnx``, each verified against the reference.

    ``progress`` hears the name of each engine that is about to be built. What is up to date is left alone. Raises
    PackingError when a network is missing, FuseeError when one cannot be built.
    """
    if isa not in (NATIVE, AVX2):
        raise PackingError(f"instruction set {isa!r}; expected {NATIVE} or {AVX2}")
    sources = [models / f"{name}.onnx" for name in names]
    missing = [source.name for source in sources if not source.is_file()]
    if missing:
        raise PackingError(
            f"{models}: {', '.join(missing)} not found; expected the trained networks there, as models/assay has them"
        )
    engines.mkdir(parents=True, exist_ok=True)
    target = detect_cpu() if isa == NATIVE else detect_cpu().with_isa(isa)
    return tuple(_pack_one(source, engines / f"{source.stem}.fusee", target, progress) for source in sources)


def _pack_one(source: Path, engine: Path, target: CpuTarget, progress: Callable[[str], None]) -> Packed:
    digest = _sha256(source)
    origin, record = _origin(digest, target), engine.with_suffix(".json")
    if engine.is_file() and _read_record(record) == origin | {"engine_sha256": _sha256(engine)}:
        return Packed(engine, digest, None)
    progress(source.stem)
    start = perf_counter()
    fusee.build(source, fusee.BuildOptions(target)).save(engine)
    record.write_text(json.dumps(origin | {"engine_sha256": _sha256(engine)}, indent=1) + "\n")
    return Packed(engine, digest, perf_counter() - start)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _origin(source_sha256: str, target: CpuTarget) -> dict[str, Any]:
    """What an engine depends on."""
    machine = {"model": target.model, "features": sorted(target.features), "cores": target.cores}
    return {"source_sha256": source_sha256, "machine": machine, "compiler": _compiler_sha256()}


def _compiler_sha256() -> str:
    """Over the compiler's own sources: an engine is built anew when they change."""
    folder = Path(fusee.__file__).parent
    digest = hashlib.sha256()
    for source in sorted(folder.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _read_record(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
