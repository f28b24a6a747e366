"""Run a plan on whole arrays: find or bind its phases, fill in the caller's addresses, run, stop for host steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from fusee.base.errors import RequestError
from fusee.base.types import Array
from fusee.engine.plan import CallStep, HostStep, Plan, PlanOutput
from fusee.runtime.bind import Binder, Constants, HostRun, NativeRun, Phase, Results, fill, store_results
from fusee.runtime.device import Device
from fusee.runtime.frame import Frame
from fusee.runtime.host import learn_names
from fusee.runtime.memory import address_of, padded, padded_array
from fusee.runtime.names import Actual, Names, solve_names
from fusee.runtime.stages import plan_symbols

NO_NAMES: Mapping[str, int] = MappingProxyType({})
Watch = Callable[[NativeRun | HostRun, Frame], Results | None]


class Runner:
    """One plan on one device, with the arenas of its phases. One run at a time; the caller keeps order.

    ``label`` says in messages what the plan's inputs are: ``input`` for the caller's own.
    """

    def __init__(self, plan: Plan, device: Device, constants: Constants, label: str = "input") -> None:
        self.plan = plan
        self._label = label
        self._children: dict[int, tuple[Runner, ...]] = {
            id(step): tuple(Runner(p, device, constants, f"{step.op} body's input") for p in step.plans)
            for step in plan.steps
            if isinstance(step, CallStep)
        }
        self._binder = Binder(plan, device, constants, self._children)
        self._needs = sorted(plan_symbols(plan))
        self._with_elements = [(i, item.elements) for i, item in enumerate(plan.inputs) if item.elements]

    def run(
        self,
        inputs: Sequence[Array],
        outputs: Sequence[Array | None] = (),
        outer: Mapping[str, int] = NO_NAMES,
        watch: Watch | None = None,
    ) -> list[Array]:
        """Results for row-major inputs of the declared element types.

        ``outputs`` are arrays to write results to, None where one is to be made. ``outer`` gives values to names
        from outside. ``watch`` runs each part instead of the usual way, to time it. Raises RequestError.
        """
        count = len(self.plan.outputs)
        usable = [padded(a) for a in inputs]
        frame = Frame([a for a, _ in usable], [p for _, p in usable], list(outputs) or [None] * count, [0] * count)
        execute = watch or _execute
        key = self._key(inputs, outer)
        phase = self._binder.find(key) or self._binder.bind(key, self._names(inputs, outer), None)
        self._prepare(phase, frame)
        results = _run_parts(phase, frame, execute)
        while (ended := self._binder.stages.stages[phase.number].last) is not None:
            phase, key = self._next(phase, key, ended, frame, results)
            self._prepare(phase, frame)
            store_results(ended, frame, results, phase.receives)
            results = _run_parts(phase, frame, execute)
        return [frame.output(i) for i in range(len(frame.outputs))]

    def _key(self, inputs: Sequence[Array], outer: Mapping[str, int]) -> tuple[Any, ...]:
        """What the sizes of phase 0 depend on."""
        key: list[Any] = [a.shape for a in inputs]
        if self._with_elements:
            key += [tuple(inputs[i].reshape(-1).tolist()) for i, _ in self._with_elements]
        if outer:
            key += [outer.get(name) for name in self._needs]
        return tuple(key)

    def _names(self, inputs: Sequence[Array], outer: Mapping[str, int]) -> Names:
        names = {name: outer[name] for name in self._needs if name in outer}
        for i, elements in self._with_elements:
            values = inputs[i].reshape(-1).tolist()
            if len(values) != len(elements):
                label = f"{self._label} {self.plan.inputs[i].name!r}"
                raise RequestError(f"{label} has {len(values)} elements, expected {len(elements)}")
            names.update(zip(elements, map(int, values), strict=True))
        declared = zip(self.plan.inputs, inputs, strict=True)
        solve_names([Actual(f"{self._label} {item.name!r}", item.type, a.shape) for item, a in declared], names)
        return names

    def _next(
        self, phase: Phase, key: tuple[Any, ...], ended: HostStep | CallStep, frame: Frame, results: Results
    ) -> tuple[Phase, tuple[Any, ...]]:
        """The phase that begins when ``ended`` has given values to names."""
        run = phase.runs[-1]
        assert isinstance(run, HostRun)
        operands = [locate(frame) for locate in run.operands[:1]]
        names = learn_names(ended, operands, results, phase.names)
        key = (key, *[value for name, value in names.items() if name not in phase.names])
        return self._binder.find(key) or self._binder.bind(key, names, phase), key

    def _prepare(self, phase: Phase, frame: Frame) -> None:
        """Everything that a phase finds in memory before its first part runs."""
        for index, shape, dtype in phase.new_outputs:
            self._provide(frame, index, shape, dtype)
        fill(phase.inputs, frame.input_addresses)
        fill(phase.outputs, frame.output_addresses)
        for locate, values in phase.dims:
            np.copyto(locate(frame), values)

    def _provide(self, frame: Frame, index: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
        array = frame.outputs[index]
        if array is None:
            array = frame.outputs[index] = padded_array(shape, dtype)
        check_output(self.plan.outputs[index], array, shape)
        frame.output_addresses[index] = address_of(array)

    def report(self) -> dict[str, int]:
        """Bytes of each arena, sub-plans included."""
        regions = [r.memory.size_bytes for r in self._binder.regions if r.memory is not None]
        children = [r.report() for runners in self._children.values() for r in runners]
        return {"arena": sum(regions) + sum(c["arena"] for c in children)}


def check_output(declared: PlanOutput, array: Array, shape: tuple[int, ...]) -> None:
    """The caller's array has the shape of the result. Raises RequestError."""
    if array.shape != shape:
        raise RequestError(
            f"output {declared.name!r} has shape {list(shape)} ({declared.type}), "
            f"but the array given for it has {list(array.shape)}"
        )


def _run_parts(phase: Phase, frame: Frame, execute: Watch) -> Results:
    """Run the parts of a phase; gives the results of the last, which count when it ends the phase."""
    results: Results | None = None
    for run in phase.runs:
        results = execute(run, frame)
    return results or ()


def _execute(run: NativeRun | HostRun, frame: Frame) -> Results | None:
    if isinstance(run, NativeRun):
        run.segment.run()
        return None
    return compute(run, frame)


def compute(run: HostRun, frame: Frame) -> Results:
    """Run a host step; its results are stored, unless it ends its phase.

    Raises RequestError when numpy cannot compute it on these values, such as an index outside a tensor.
    """
    operands = [locate(frame) for locate in run.operands]
    try:
        results = run.compute(*operands)
    except (ValueError, IndexError, ArithmeticError) as err:
        shapes = ", ".join(f"{a.dtype}{list(a.shape)}" for a in operands)
        where = f" (from {', '.join(run.step.loc)})" if run.step.loc else ""
        raise RequestError(f"{run.step.op}{where} cannot be computed on {shapes}: {err}") from err
    if run.results:
        store_results(run.step, frame, results, run.results)
    return results
