"""A plan cut where the run must stop: into phases, and within a phase into native stretches and host steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fusee.base.dims import Dim, symbols
from fusee.engine.decode import ends_phase
from fusee.engine.plan import CallStep, HostStep, KernelStep, Plan, Step
from fusee.runtime.host import attribute_dims

Stretch = tuple[KernelStep, ...]
Action = Stretch | HostStep | CallStep


@dataclass(frozen=True)
class Stage:
    """The steps of one phase. ``last`` is the step that ends it by giving values to names, if any does."""

    actions: tuple[Action, ...]
    last: HostStep | CallStep | None


@dataclass(frozen=True)
class Stages:
    """A plan's phases, and when each of its outputs and assumptions is known."""

    stages: tuple[Stage, ...]
    outputs: tuple[tuple[int, ...], ...]  # by phase: the outputs whose shape is known from it on
    equal: tuple[tuple[tuple[Dim, Dim], ...], ...]  # by phase: the pairs that can be checked from it on


def cut(plan: Plan) -> Stages:
    """Cut a plan into phases."""
    stages = tuple(_stages(plan.steps))
    known = _phase_of_names(stages)
    last = len(stages)
    outputs = [known.of(symbols(o.type.shape)) for o in plan.outputs]
    equal = [known.of(symbols(pair)) for pair in plan.equal]
    return Stages(
        stages,
        tuple(tuple(i for i, phase in enumerate(outputs) if phase == p) for p in range(last)),
        tuple(tuple(pair for pair, phase in zip(plan.equal, equal, strict=True) if phase == p) for p in range(last)),
    )


def _stages(steps: Sequence[Step]) -> Iterator[Stage]:
    begin = 0
    for i, step in enumerate(steps):
        if not isinstance(step, KernelStep) and ends_phase(step):
            yield Stage(tuple(_actions(steps[begin : i + 1])), step)
            begin = i + 1
    yield Stage(tuple(_actions(steps[begin:])), None)


def _actions(steps: Sequence[Step]) -> Iterator[Action]:
    stretch: list[KernelStep] = []
    for step in steps:
        if isinstance(step, KernelStep):
            stretch.append(step)
            continue
        if stretch:
            yield tuple(stretch)
            stretch = []
        yield step
    if stretch:
        yield tuple(stretch)


@dataclass(frozen=True)
class _Known:
    phases: dict[str, int] = field(default_factory=dict[str, int])

    def of(self, names: frozenset[str]) -> int:
        return max((self.phases.get(n, 0) for n in names), default=0)


def _phase_of_names(stages: Sequence[Stage]) -> _Known:
    phases: dict[str, int] = {}
    for i, stage in enumerate(stages):
        last = stage.last
        if last is not None:
            names = (*last.defines, *last.elements) if isinstance(last, HostStep) else last.defines
            phases.update(dict.fromkeys(names, i + 1))
    return _Known(phases)


def plan_symbols(plan: Plan) -> frozenset[str]:
    """Every name that a plan depends on."""
    dims: list[Dim] = [d for item in (*plan.inputs, *plan.outputs) for d in item.type.shape]
    dims += [b.size_bytes for b in plan.buffers]
    dims += [e for d in plan.dims for e in d.elements]
    dims += [d for pair in plan.equal for d in pair]
    inner = frozenset[str]().union(*[_step_symbols(s) for s in plan.steps])
    return symbols(dims) | inner


def _step_symbols(step: Step) -> frozenset[str]:
    match step:
        case KernelStep():
            offsets = [p.offset_bytes for p in step.pointers]
            return symbols([*step.scalars, step.units, step.scratch_bytes, *offsets])
        case HostStep():
            own = symbols(list(attribute_dims(step.attributes)))
            return own.union(*[t.type.symbols() for t in (*step.operands, *step.results)])
        case CallStep():
            own = (t.type.symbols() for t in (*step.operands, *step.results))
            return frozenset[str]().union(*own, *[plan_symbols(p) for p in step.plans])
