"""What a plan takes in memory, and what it runs: for summaries and `fusee inspect`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fusee.base.dims import evaluate
from fusee.engine.abi import align
from fusee.engine.arena import Lifetime, place
from fusee.engine.artifact import Artifact
from fusee.engine.plan import Buffer, CallStep, HostStep, KernelStep, Plan, Step


@dataclass(frozen=True)
class MemoryReport:
    """Bytes of an engine at given sizes. ``separate`` is what activations would take if none shared memory."""

    weights_bytes: int
    arena_bytes: int
    separate_bytes: int

    @property
    def saved_bytes(self) -> int:
        return max(0, self.separate_bytes - self.arena_bytes)

    @property
    def peak_bytes(self) -> int:
        return self.weights_bytes + self.arena_bytes


def memory_report(artifact: Artifact, sizes: Mapping[str, int]) -> MemoryReport:
    """The memory of an engine when the names in its shapes have these values."""
    buffers = artifact.plan.buffers
    arena_bytes = 0
    for phase in sorted({b.phase for b in buffers}):
        lives = [_lifetime(b, sizes) for b in buffers if b.phase == phase]
        arena_bytes += place(lives).arena_bytes
    separate = sum(align(evaluate(b.size_bytes, sizes)) for b in buffers)
    weights = max((w.offset_bytes + w.size_bytes for w in artifact.weights.table), default=0)
    return MemoryReport(weights, arena_bytes, separate)


def _lifetime(buffer: Buffer, sizes: Mapping[str, int]) -> Lifetime:
    return Lifetime(evaluate(buffer.size_bytes, sizes), buffer.first, buffer.last)


def all_steps(plan: Plan) -> Iterator[Step]:
    """The steps of a plan and of the plans inside its control flow."""
    for step in plan.steps:
        yield step
        if isinstance(step, CallStep):
            for inner in step.plans:
                yield from all_steps(inner)


def step_counts(plan: Plan) -> dict[str, int]:
    """How many steps run as compiled code, in numpy on the host, and as control flow."""
    names = {KernelStep: "native", HostStep: "host", CallStep: "control"}
    counts = Counter(names[type(step)] for step in all_steps(plan))
    return {name: counts[name] for name in ("native", "host", "control")}


def kernel_counts(plan: Plan) -> dict[str, int]:
    """How many steps each kernel runs, the most used first."""
    counts = Counter(s.kernel.split("(")[0] for s in all_steps(plan) if isinstance(s, KernelStep))
    return dict(counts.most_common())
