"""What a build proved of its engine, as it stands in the engine file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fusee.base.types import Array
from fusee.ir.compare import Difference, compare
from fusee.ir.graph import Graph
from fusee.verification.noise import excused
from fusee.verification.samples import Sample

Run = Callable[[Mapping[str, Array]], dict[str, Array]]


def compare_all(run: Run, graph: Graph, samples: Sequence[Sample]) -> tuple[tuple[Difference, ...], ...]:
    """For each sample, how far each output of ``run`` is from the reference.

    Where that is more than the tolerance, the graph's own noise decides: some inputs make a model amplify rounding
    errors, and then no two correct engines agree.
    """
    return tuple(excused(compare(s.expected, run(s.feeds)), graph, s.feeds, s.expected) for s in samples)


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
