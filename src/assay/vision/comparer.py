"""A photograph's patches against a bank of genuine ones."""

from __future__ import annotations

from pathlib import Path
from queue import LifoQueue

import numpy as np

from assay.vision.engines import COMPARE, identity_of
from assay.vision.lens import Comparison, EngineIdentity, Floats
from fusee.runtime.engine import load
from fusee.runtime.session import Session

SESSIONS = 2  # that run side by side; a run takes milliseconds


class Comparer:
    """Runs the compare engine. Any number of threads may use it; close it to give its threads back."""

    def __init__(self, engines: Path, threads: int = 0) -> None:
        """``threads`` of each session; 0: one for each core. Raises Refusal UNAVAILABLE, EngineError."""
        self._identity = identity_of(engines, COMPARE)
        engine = load(engines / f"{COMPARE}.fusee")
        self._sessions = [engine.session(threads or None) for _ in range(SESSIONS)]
        self._idle: LifoQueue[Session] = LifoQueue()  # the last one used has seen such banks
        for session in self._sessions:
            self._idle.put(session)

    @property
    def identity(self) -> EngineIdentity:
        return self._identity

    def compare(self, patches: Floats, bank: Floats) -> Comparison:
        """Of one photograph: ``patches`` [PATCHES, PATCH_FEATURES], ``bank`` [rows, PATCH_FEATURES], rows >= 1."""
        session = self._idle.get()
        try:
            outputs = session.run({"patches": patches[np.newaxis], "bank": np.asarray(bank)})
        finally:
            self._idle.put(session)
        return Comparison(outputs["distance_map"][0], float(outputs["score"][0]), outputs["nearest"][0])

    def close(self) -> None:
        for session in self._sessions:
            session.close()
