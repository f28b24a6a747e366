"""How much a graph, or one step of it, amplifies rounding errors: where that is much, correct engines differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import ml_dtypes
import numpy as np

from fusee.base.types import Array, DType
from fusee.ir import reference
from fusee.ir.compare import Difference, compare, difference
from fusee.ir.graph import Graph


def excused(
    differences: Sequence[Difference], graph: Graph, feeds: Mapping[str, Array], calm: Mapping[str, Array]
) -> tuple[Difference, ...]:
    """The differences, judged by the noise of the graph, which gives ``calm``, where they exceed the tolerance."""
    if all(d.is_equal or d.detail for d in differences):
        return tuple(differences)
    noise = {d.name: d for d in compare(calm, reference.run(graph, feeds, disturb=_rounding()))}
    return tuple(d if d.is_equal else d.with_noise(_measured(noise[d.name])) for d in differences)


def excused_step(found: Difference, body: Graph, operands: Sequence[Array], expected: Array, index: int) -> Difference:
    """The difference of result ``index`` of a fused step, judged by the noise inside the step."""
    if found.is_equal or found.detail:
        return found
    disturbed = reference.evaluate(body, operands, disturb=_rounding())[index]
    return found.with_noise(_measured(difference(found.name, expected, disturbed)))


def _measured(noise: Difference) -> float:
    """The size of the noise; none when it turns numbers into others that have no distance."""
    return 0.0 if noise.detail else noise.error


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
