"""The transforms of F(4x4, 3x3): filters at build, inputs and products in registers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusee.base.types import Array
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.panels import pack_panels
from fusee.kernels.cpu.ssa import Ssa, literal

SIDE, PATCH = 4, 6  # of an output tile, of the input it needs
PRODUCTS = PATCH * PATCH
NEAR, FAR = 5 / 8, 3 / 2  # points 0, +-NEAR, +-FAR and infinity: a third of the rounding error of 0, +-1, +-2


def filter_transform() -> Array:
    """G [6, 3] for the points: powers of each over its differences with the others."""
    points = np.array([0, NEAR, -NEAR, FAR, -FAR])
    differences = points[:, None] - points[None, :] + np.eye(len(points))
    finite = points[:, None] ** np.arange(3) / differences.prod(1)[:, None]
    return np.concatenate([finite, [[0, 0, 1]]])


def pack_transformed(weights: Array, width: int, lanes: int) -> Array:
    """[O, C, 3, 3] -> 36 planes of panels [C, width] of ``G g G^T``."""
    g = filter_transform()
    made, taken = weights.shape[:2]
    taps = weights.transpose(2, 3, 1, 0).reshape(9, taken * made).astype(np.float64)
    planes = (np.kron(g, g) @ taps).astype(np.float32).reshape(PRODUCTS, taken, made)
    return np.concatenate([pack_panels(plane, width, lanes) for plane in planes])


def _scaled(e: Emitter, a: Ssa, factor: float, b: Ssa) -> Ssa:
    """``a * factor + b``."""
    return e.fma(a, literal(a.type, factor), b)


def times_b(e: Emitter, d: Sequence[Ssa]) -> list[Ssa]:
    """Six inputs times B transposed: its rows are the polynomials that vanish at all points but one."""
    near, far = NEAR**2, FAR**2
    even_near, odd_near = _scaled(e, d[2], -far, d[4]), _scaled(e, d[1], -far, d[3])
    even_far, odd_far = _scaled(e, d[2], -near, d[4]), _scaled(e, d[1], -near, d[3])
    return [
        _scaled(e, d[0], near * far, _scaled(e, d[2], -near - far, d[4])),
        _scaled(e, odd_near, NEAR, even_near),
        _scaled(e, odd_near, -NEAR, even_near),
        _scaled(e, odd_far, FAR, even_far),
        _scaled(e, odd_far, -FAR, even_far),
        _scaled(e, d[1], near * far, _scaled(e, d[3], -near - far, d[5])),
    ]


def times_a(e: Emitter, m: Sequence[Ssa]) -> list[Ssa]:
    """Six products times A transposed: powers of the points."""
    even_near, even_far = e.fadd(m[1], m[2]), e.fadd(m[3], m[4])
    odd_near, odd_far = e.fsub(m[1], m[2]), e.fsub(m[3], m[4])
    return [
        e.fadd(e.fadd(m[0], even_near), even_far),
        _scaled(e, odd_far, FAR, e.fmul(odd_near, literal(odd_near.type, NEAR))),
        _scaled(e, even_far, FAR**2, e.fmul(even_near, literal(even_near.type, NEAR**2))),
        _scaled(e, odd_far, FAR**3, _scaled(e, odd_near, NEAR**3, m[5])),
    ]
