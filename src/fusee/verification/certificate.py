"""What a build proved of its engine, as it stands in the engine file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

import ml_dtypes
import numpy as np

from fusee.base.types import Array, DType
from fusee.ir import reference
from fusee.ir.graph import Graph
from fusee.verification.compare import Difference, compare
from fusee.verification.samples import Sample

Run = Callable[[Mapping[str, Array]], dict[str, Array]]


def compare_all(run: Run, graph: Graph, samples: Sequence[Sample]) -> tuple[tuple[Difference, ...], ...]:
    """For each sample, how far each output of ``run`` is from the reference.

    Where that is more than the tolerance, the graph's own sensitivity decides: some inputs make a model amplify
    rounding errors, and then no two correct engines agree.
    """
    return tuple(_judged(compare(sample.expected, run(sample.feeds)), graph, sample) for sample in samples)


def _judged(found: tuple[Difference, ...], graph: Graph, sample: Sample) -> tuple[Difference, ...]:
    if all(d.is_equal or d.detail for d in found):
        return found
    noise = {d.name: d.error for d in compare(sample.expected, reference.run(graph, sample.feeds, disturb=_rounding()))}
    return tuple(d if d.is_equal or not isfinite(noise[d.name]) else d.with_noise(noise[d.name]) for d in found)


def _rounding() -> Callable[[Array], Array]:
    """Moves every float by up to one unit in its last place, up or down, seeded."""
    rng = np.random.default_rng(0)

    def disturb(array: Array) -> Array:
        if not DType.of(array.dtype).is_float:
            return array
        unit = float(ml_dtypes.finfo(array.dtype).eps)
        factors = 1 + unit * rng.choice(np.array([-1.0, 1.0]), array.shape)
        return (array.astype(np.float64) * factors).astype(array.dtype)

    return disturb


def certificate(
    samples: Sequence[Sample], differences: Sequence[Sequence[Difference]], versions: Mapping[str, str]
) -> dict[str, Any]:
    """The record: seeds and sizes of the inputs, each output's error and its tolerance, versions of what judged."""
    rows = [
        {
            "seed": sample.seed,
            "inputs": sample.sizes(),
            "outputs": [
                {
                    "name": d.name,
                    "dtype": d.dtype.value,
                    "error": d.error,
                    "tolerance": d.tolerance,
                    **({"noise": d.noise} if d.noise else {}),
                }
                for d in found
            ],
        }
        for sample, found in zip(samples, differences, strict=True)
    ]
    return {"judged_by": "reference interpreter", "samples": rows, "versions": dict(versions)}
