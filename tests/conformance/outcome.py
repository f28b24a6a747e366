"""Run one standard case through a whole build and the runtime, and say how it went."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from conformance.cases import Case
from fusee.base.errors import FuseeError, UnsupportedModel
from fusee.build import BuildOptions, build_artifact
from fusee.engine.plan import HostStep
from fusee.engine.report import all_steps
from fusee.kernels.cpu.compile import Compiler
from fusee.runtime.engine import Engine

NATIVE, HOST, REFUSED, WRONG, ERROR, CRASH = "native", "host", "refused", "wrong", "error", "crash"


@dataclass(frozen=True)
class Outcome:
    """How a case went: passed as native code or with steps on the host, refused, wrong, or an error of ours."""

    name: str
    ops: tuple[str, ...]
    kind: str
    detail: str = ""

    @property
    def passed(self) -> bool:
        return self.kind in (NATIVE, HOST)


def run_case(case: Case, compiler: Compiler) -> Outcome:
    """Build the case's model, run it, and compare with what the standard expects."""
    try:
        options = BuildOptions(compiler.target, inputs=(case.feeds,) if case.feeds is not None else (), samples=1)
        built = build_artifact(case.model, options, compiler=compiler)
        if case.feeds is None:
            return Outcome(case.name, case.ops, ERROR, "accepted, though an input is no tensor")
        with Engine(built.artifact) as engine:
            found = engine.run(case.feeds)
    except UnsupportedModel as err:
        return Outcome(case.name, case.ops, REFUSED, _reason(str(err)))
    except FuseeError as err:
        return Outcome(case.name, case.ops, ERROR, f"{type(err).__name__}: {err}")
    except Exception as err:  # a bug of ours must show as one line of the table, not end the table
        return Outcome(case.name, case.ops, ERROR, f"{type(err).__name__}: {err}")
    if problem := _disagreement(case, tuple(found.values())):
        return Outcome(case.name, case.ops, WRONG, problem)
    hosts = [s for s in all_steps(built.artifact.plan) if isinstance(s, HostStep)]
    hosted = sorted({s.function for s in hosts} - {"read_sizes"})  # which computes nothing
    control = sorted({type(s).__name__ for s in built.artifact.plan.steps} - {"KernelStep", "HostStep"})
    detail = ", ".join([*hosted, *control])
    return Outcome(case.name, case.ops, HOST if detail else NATIVE, detail)


# The standard's bf16 values round after every step of a composition; a fused op rounds once.
ROUNDING = {"bfloat16": 2 * 2.0**-7}


def _absolute(case: Case, expected: np.ndarray) -> float:
    """The case's tolerance, or one f32 rounding of the largest value, which sums of cancelling terms keep."""
    finite = expected[np.isfinite(expected)] if expected.dtype.kind == "f" else expected
    largest = float(np.abs(finite).max()) if finite.size else 0.0
    return max(case.atol, 1e-7, 2.0**-22 * largest)


def _reason(message: str) -> str:
    lines = [line.strip("- ") for line in message.splitlines()[1:]] or [message]
    return "; ".join(dict.fromkeys(lines))


def _disagreement(case: Case, found: tuple[np.ndarray, ...]) -> str:
    for i, (expected, got) in enumerate(zip(case.expected, found, strict=True)):
        if expected is None:
            return f"output {i} of the case is no tensor"
        if got.shape != expected.shape or got.dtype != expected.dtype:
            return f"output {i} is {got.dtype}{list(got.shape)}, expected {expected.dtype}{list(expected.shape)}"
        if "random" in case.name or "bernoulli" in case.name:
            continue  # the standard fixes type and shape of random results, not values
        a, b = (x.astype(np.float64) if x.dtype.kind not in "iub" else x for x in (expected, got))
        rtol, atol = max(case.rtol, ROUNDING.get(str(expected.dtype), 0.0)), _absolute(case, a)
        if not np.allclose(b, a, rtol=rtol, atol=atol, equal_nan=a.dtype.kind == "f"):
            return f"output {i} differs by up to {np.nanmax(np.abs(a.astype(np.float64) - b.astype(np.float64))):.3g}"
    return ""
