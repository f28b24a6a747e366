"""Everything an engine is made of, in memory: what a build makes, a file holds and a session runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fusee.base.errors import EngineError
from fusee.base.target import FEATURES, CpuTarget
from fusee.engine.abi import ENTRY_POINTS
from fusee.engine.image import CodeImage
from fusee.engine.plan import CallStep, KernelStep, Plan
from fusee.engine.weights import Weights


@dataclass(frozen=True, eq=False)
class Artifact:
    """A built engine as frozen data.

    ``features`` are the CPU features that the code uses; a machine that lacks one cannot run it. ``graph`` (text) and
    ``graph_weights`` describe the model for any machine. ``certificate`` says how the build was verified, ``tuning``
    what was measured: both hold JSON values.
    """

    plan: Plan
    code: CodeImage
    weights: Weights
    features: frozenset[str]
    built_for: str = ""  # the CPU's name, for people
    graph: str = ""
    graph_weights: bytes | memoryview = b""
    certificate: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tuning: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def name(self) -> str:
        return self.plan.name


def check_machine(
    features: frozenset[str], built_for: str, machine: CpuTarget, where: str, carries_model: bool = False
) -> None:
    """The machine has every feature that the code uses. Raises EngineError that lists what it lacks."""
    missing = sorted(machine.lacks(features))
    if not missing:
        return
    listed = ", ".join(f"{name} ({FEATURES.get(name, 'unknown to this Fusee')})" for name in missing)
    again = f"it carries its model: `fusee build {where} -o here.fusee` builds it for this machine"
    raise EngineError(
        f"{where}: made for {built_for or 'another CPU'}; this machine ({machine.model}) lacks {listed}; "
        + (again if carries_model else "build the engine for this machine")
    )


def check_symbols(plan: Plan, code: CodeImage) -> None:
    """Every function that the plan calls, and the dispatcher, lies in the code. Raises EngineError."""
    for name, offset in code.symbols.items():
        if not 0 <= offset < code.code_bytes:
            raise EngineError(f"code: function {name} is at {offset}, outside the {code.code_bytes} bytes of code")
    missing = sorted({*ENTRY_POINTS, *_called(plan)} - code.symbols.keys())
    if missing:
        raise EngineError(f"code: the plan calls {', '.join(missing[:5])}, which the code does not define")


def _called(plan: Plan) -> Iterator[str]:
    for step in plan.steps:
        if isinstance(step, KernelStep):
            yield step.symbol
        elif isinstance(step, CallStep):
            for inner in step.plans:
                yield from _called(inner)
