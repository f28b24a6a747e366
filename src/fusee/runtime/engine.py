"""An engine ready to run: its artifact with code and weights loaded, shared by all its sessions."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from fusee.base.errors import DeviceError, RequestError
from fusee.base.target import CpuTarget, detect_cpu
from fusee.base.types import Array
from fusee.engine import file
from fusee.engine import load as loading
from fusee.engine.artifact import Artifact, check_machine, check_symbols
from fusee.engine.plan import Plan, PlanInput, PlanOutput
from fusee.runtime.bind import Constants
from fusee.runtime.code import LoadedCode, load_code
from fusee.runtime.cores import default_threads
from fusee.runtime.cpu import CpuDevice, aligned_weights
from fusee.runtime.device import Device
from fusee.runtime.session import Session
from fusee.runtime.team import MAX_THREADS

POOL_SESSIONS = 4  # that Engine.run may use at the same time, each with all cores
DEVICES: dict[str, Callable[[LoadedCode, int], Device]] = {"cpu": CpuDevice}


class Engine:
    """A built model. Any number of threads may use it; each session serves one caller at a time."""

    def __init__(self, artifact: Artifact) -> None:
        check_machine(artifact.features, artifact.built_for, this_machine(), artifact.name)
        check_symbols(artifact.plan, artifact.code)
        self.artifact = artifact
        self._code = load_code(artifact.code)
        table = artifact.weights.table
        used_bytes = max((w.offset_bytes + w.size_bytes for w in table), default=0)
        self._constants = Constants(aligned_weights(artifact.weights.data, used_bytes), table)
        self._make_pool()

    def _make_pool(self) -> None:
        self._idle: list[Session] = []
        self._slots = threading.BoundedSemaphore(POOL_SESSIONS)
        self._pid = os.getpid()

    @property
    def name(self) -> str:
        return self.artifact.plan.name

    @property
    def plan(self) -> Plan:
        return self.artifact.plan

    @property
    def inputs(self) -> tuple[PlanInput, ...]:
        return self.artifact.plan.inputs

    @property
    def outputs(self) -> tuple[PlanOutput, ...]:
        return self.artifact.plan.outputs

    def session(self, threads: int | None = None, device: str = "cpu") -> Session:
        """A new session with that many threads (the machine's cores when None).

        Raises RequestError for a device or a number of threads that cannot be.
        """
        if device not in DEVICES:
            raise RequestError(f"device {device!r} is unknown; this Fusee has {', '.join(DEVICES)}")
        count = default_threads() if threads is None else threads
        if not 1 <= count <= MAX_THREADS:
            raise RequestError(f"threads is {count}, expected 1 to {MAX_THREADS}")
        return Session(self.artifact.plan, DEVICES[device](self._code, count), self._constants)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Run in a session of the engine's own; several threads may call this, and up to 4 run at the same time."""
        if self._pid != os.getpid():
            self._make_pool()
        with self._slots:
            session = self._borrow()
            try:
                return session.run(inputs)
            finally:
                self._idle.append(session)

    def _borrow(self) -> Session:
        with suppress(IndexError):
            return self._idle.pop()
        return self.session()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the engine to a file, whole or not at all."""
        file.save(self.artifact, path)

    def close(self) -> None:
        """End the sessions that ``run`` keeps; sessions made by ``session`` are their owners'."""
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load(path: str | os.PathLike[str]) -> Engine:
    """The engine in a file. Raises EngineError when it is damaged or was made for another machine."""
    return Engine(loading.load(path, this_machine()))


_machine: list[CpuTarget] = []


def this_machine() -> CpuTarget:
    """The facts of this machine, found once."""
    if not _machine:
        _machine.append(detect_cpu())
    if not _machine[0].features:
        raise DeviceError("this machine has none of the CPU features that engines need (AVX2 at least)")
    return _machine[0]
