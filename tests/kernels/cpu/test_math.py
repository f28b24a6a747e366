"""Our own elementary functions against numpy in a wider type, over their whole ranges and at their edges."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from fusee.base.target import detect_cpu
from fusee.base.types import Array, TensorType
from fusee.kernels.cpu.compile import Compiler
from fusee.kernels.cpu.pointwise import Pointwise
from fusee.kernels.kernel import KernelCall, Operand, Tactic
from fusee.ops import elementwise as u
from fusee.ops.binary import Mod, Pow
from kernels.run_kernel import emit, load, run_job

LARGEST_ERROR_ULP = 4.0
CASES: tuple[tuple[u.Elementwise, Callable[..., Array], float, float], ...] = (
    (u.Exp(), np.exp, -87, 88),
    (u.Log(), np.log, 1e-30, 100),
    (u.Sin(), np.sin, -1e6, 1e6),
    (u.Sin(), np.sin, -1e30, 1e30),
    (u.Cos(), np.cos, -1e6, 1e6),
    (u.Tan(), np.tan, -1e4, 1e4),
    (u.Asin(), np.arcsin, -1, 1),
    (u.Acos(), np.arccos, -1, 1),
    (u.Atan(), np.arctan, -50, 50),
    (u.Sinh(), np.sinh, -80, 80),
    (u.Cosh(), np.cosh, -80, 80),
    (u.Tanh(), np.tanh, -10, 10),
    (u.Tanh(), np.tanh, -1e-3, 1e-3),
    (u.Asinh(), np.arcsinh, -100, 100),
    (u.Acosh(), np.arccosh, 1, 100),
    (u.Atanh(), np.arctanh, -1, 1),
    (u.Sigmoid(), lambda x: 1 / (1 + np.exp(-x)), -30, 30),
    (u.Softplus(), lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), -30, 30),
)
EDGES = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 3.4e38, -3.4e38, 88.8, -103.9, -110.0, 2.0, -2.0]


@pytest.fixture(scope="module", params=["avx512", "avx2"])
def compiler(request: pytest.FixtureRequest) -> Iterator[Compiler]:
    with Compiler(detect_cpu().with_isa(request.param), 1) as opened:
        yield opened


def computed(compiler: Compiler, op: u.Elementwise, *arrays: Array) -> Array:
    call = KernelCall.of(op, [Operand(TensorType.of(a)) for a in arrays], compiler.target)
    job = emit(Pointwise(), call, Tactic(), "k")
    return run_job(load(compiler, [job]), job, arrays)[0]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(("op", "exact", "low", "high"), CASES, ids=str)
def test_errors_are_a_few_units_in_the_last_place(
    compiler: Compiler, op: u.Elementwise, exact: Callable[..., Array], low: float, high: float, kind: type
) -> None:
    x = np.random.default_rng(0).uniform(low, high, 4001).astype(kind)
    wanted = exact(x.astype(np.float64 if kind is np.float32 else np.longdouble))
    units = np.abs(computed(compiler, op, x) - wanted) / np.spacing(np.abs(wanted.astype(kind)))
    worst = int(np.argmax(units))
    assert units[worst] < LARGEST_ERROR_ULP, f"{units[worst]} units at {x[worst]!r}"


@pytest.mark.parametrize(("op", "exact"), [(c[0], c[1]) for c in CASES if c[0] != u.Acosh()], ids=str)
def test_edges_are_those_of_numpy(compiler: Compiler, op: u.Elementwise, exact: Callable[..., Array]) -> None:
    x = np.array(EDGES, np.float32)
    with np.errstate(all="ignore"):
        wanted = exact(x.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(computed(compiler, op, x), wanted, rtol=1e-6, atol=1e-45)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_powers(compiler: Compiler, kind: type) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, 20, 4001).astype(kind), rng.uniform(-25, 25, 4001).astype(kind)
    np.testing.assert_allclose(
        computed(compiler, Pow(), x, y), np.power(x, y), rtol=3e-7 if kind is np.float32 else 3e-15
    )


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_edges_of_powers(compiler: Compiler, kind: type) -> None:
    values = np.array([0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -3.0, np.inf, -np.inf, np.nan], kind)
    x, y = (np.ascontiguousarray(a).ravel() for a in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(computed(compiler, Pow(), x, y), np.power(x, y), rtol=1e-6)


@pytest.mark.parametrize("fmod", [True, False])
def test_edges_of_remainders(compiler: Compiler, fmod: bool) -> None:
    values = np.array([5.5, -5.5, 3.0, -3.0, 0.25, 1e6, np.inf, np.nan, 0.0], np.float32)
    x, y = (np.ascontiguousarray(a).ravel() for a in np.meshgrid(values, values))
    op = Mod(fmod=fmod)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(computed(compiler, op, x, y), (np.fmod if fmod else np.mod)(x, y))
