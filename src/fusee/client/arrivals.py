"""When requests of an open load are sent: at times fixed beforehand, whatever the server does meanwhile."""

from __future__ import annotations

from enum import Enum

import numpy as np


class Spacing(Enum):
    """How requests follow each other."""

    POISSON = "poisson"  # independent callers
    CONSTANT = "constant"  # a camera


def arrival_times_s(rate_per_s: float, duration_s: float, spacing: Spacing, seed: int) -> list[float]:
    """Increasing times from 0 to ``duration_s``, ``rate_per_s`` of them a second on average."""
    if spacing is Spacing.CONSTANT:
        return [i / rate_per_s for i in range(round(rate_per_s * duration_s))]
    # The number of points is what a Poisson process has on average, so that two runs of one rate send alike.
    generator = np.random.default_rng(seed)
    return sorted(generator.uniform(0.0, duration_s, round(rate_per_s * duration_s)).tolist())
