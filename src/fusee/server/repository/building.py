"""ONNX files of a repository made into engines, by a child process: the server itself has no compiler in it."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import threading
from importlib.metadata import version as package_version
from importlib.util import find_spec
from pathlib import Path

from fusee.engine.digest import section_digest
from fusee.runtime.engine import this_machine
from fusee.server.errors import Reason, ServingError, invalid

CACHE_FOLDER = ".fusee-cache"
_COMPILER = ("onnx", "llvmlite", "typer")
_log = logging.getLogger("fusee.server.repository")


class Builder:
    """Builds what is not built yet. Called on loader threads; ``close`` from any."""

    def __init__(self, builds: int) -> None:
        self._turns = threading.BoundedSemaphore(builds)
        self._lock = threading.Lock()
        self._children: set[subprocess.Popen[str]] = set()
        self._is_closed = False

    def engine_of(self, model: Path) -> Path:
        """The engine of an ONNX file for this machine: from the cache, or built now. Raises ServingError."""
        name = f"{model.stem}-{_key(model)}.fusee"
        for folder in _caches(model):
            if (folder / name).is_file():
                return folder / name
        target = _writable_cache(model) / name
        with self._turns:
            if not target.is_file():  # it may have been built while this one waited
                self._build(model, target)
        return target

    def close(self) -> None:
        """End the builds under way; none is started after."""
        with self._lock:
            self._is_closed = True
            for child in self._children:
                child.terminate()

    def _build(self, model: Path, target: Path) -> None:
        if missing := [name for name in _COMPILER if find_spec(name) is None]:
            raise ServingError(
                Reason.UNSUPPORTED,
                f"{model.name} is to be built first, and the compiler is not installed ({', '.join(missing)} missing): "
                f"install fusee[cpu,cli], or build it elsewhere with `fusee build {model.name} -o model.fusee` and "
                "serve the engine",
            )
        _log.info("%s: building the engine for this machine into %s", model, target)
        child = self._start([sys.executable, "-m", "fusee", "build", str(model), "--output", str(target)])
        lines = [line.rstrip() for line in _progress(child) if line.strip()]
        code = child.wait()
        with self._lock:
            self._children.discard(child)
        if code != 0 or not target.is_file():
            reason = "the server stops" if self._is_closed else " ".join(lines[-5:]) or f"exit code {code}"
            raise invalid(f"{model.name}: cannot be built: {reason}")
        _log.info("%s: built", model)

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        with self._lock:
            if self._is_closed:
                raise ServingError(Reason.UNAVAILABLE, "the server stops: nothing is built any more")
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            self._children.add(child)
            return child


def _progress(child: subprocess.Popen[str]) -> list[str]:
    """What the child prints, each line logged as it comes."""
    assert child.stdout is not None
    lines: list[str] = []
    with child.stdout:
        for line in child.stdout:
            _log.info("build: %s", line.rstrip())
            lines.append(line)
    return lines


def _key(model: Path) -> str:
    """Names what the engine depends on: the model with its data files, this machine, this version of Fusee."""
    machine = this_machine()
    facts = (sorted(machine.features), machine.cores, machine.l1_bytes, machine.l2_bytes, machine.l3_bytes)
    digest = hashlib.sha256(repr((facts, machine.model, package_version("fusee"))).encode())
    for path in _parts(model):
        digest.update(f"{path.name}\0{section_digest(path.read_bytes())}\0".encode())
    return digest.hexdigest()[:32]


def _parts(model: Path) -> list[Path]:
    """The model's file and those that may hold its tensors: the others of its version, or those named after it."""
    is_version = model.name == "model.onnx"
    beside = (p for p in model.parent.iterdir() if is_version or p.name.startswith(f"{model.stem}."))
    return [model, *sorted(p for p in beside if p != model and p.is_file() and p.suffix not in (".onnx", ".fusee"))]


def _caches(model: Path) -> tuple[Path, Path]:
    return model.parent / CACHE_FOLDER, Path.home() / ".cache" / "fusee" / "engines"


def _writable_cache(model: Path) -> Path:
    """The first cache folder that can be written. Raises ServingError."""
    for folder in _caches(model):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError as err:
            _log.info("%s: engines cannot be kept there: %s", folder, os.strerror(err.errno or 0))
    places = " nor ".join(map(str, _caches(model)))
    raise invalid(f"{model.name}: is to be built first, and neither {places} can be written; build it beforehand")
