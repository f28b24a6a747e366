"""A built engine against other engines on one model: what ``fusee bench --vs`` shows."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusee.peers.contest import Contestant, PeerResult, check_outputs, enter, take_turns

TURN_S = 0.4


def race(
    model: Path, engine: Path, inputs: Mapping[str, Any], peers: Sequence[str], threads: int, rounds: int
) -> list[PeerResult]:
    """Fusee first, then the peers, measured in turns on the same inputs and threads."""
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "inputs.npz"
        np.savez(given, allow_pickle=False, **inputs)
        contestants: list[Contestant] = [enter("fusee", engine, threads, given, TURN_S)]
        contestants += [enter(peer, model, threads, given, TURN_S) for peer in peers]
        try:
            check_outputs(contestants, Path(folder))
            take_turns(contestants, rounds)
            return [contestant.finished() for contestant in contestants]
        finally:
            for contestant in contestants:
                if contestant.process:
                    contestant.process.close()
