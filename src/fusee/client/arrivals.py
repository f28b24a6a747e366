"""When requests of an open load are sent: at times fixed beforehand, whatever the server does meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np


class Spacing(Enum):
    """How requests follow each other."""

    POISSON = "poisson"  # independent callers
    CONSTANT = "constant"  # a camera


@dataclass(frozen=True)
class Arrivals:
    """A load: so many requests a second, for so long, at least one."""

    rate_per_s: float
    duration_s: float
    spacing: Spacing = Spacing.POISSON
    seed: int = 0

    def times_s(self) -> list[float]:
        """When each request is due: increasing, from 0 to the duration.

        A Poisson load always has as many points as it has on average, so that two of one rate send alike.
        """
        count = max(1, round(self.rate_per_s * self.duration_s))
        if self.spacing is Spacing.CONSTANT:
            return [i / self.rate_per_s for i in range(count)]
        generator = np.random.default_rng(self.seed)
        return sorted(generator.uniform(0.0, self.duration_s, count).tolist())
