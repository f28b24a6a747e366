"""fusee inspect: what is in an engine file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fusee.cli.arguments import AsJson, Shapes, parse_shapes, sizes_of
from fusee.cli.output import console, facts_table, mib, print_json
from fusee.engine.artifact import Artifact
from fusee.engine.load import load
from fusee.engine.plan import KernelStep, Step
from fusee.engine.report import all_steps, kernel_counts, memory_report, step_counts


def command(
    engine: Annotated[Path, typer.Argument(help="The engine file; it need not fit this machine.")],
    shapes: Shapes = "",
    steps: Annotated[bool, typer.Option("--steps", help="List every step.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show an engine's inputs, outputs, steps, memory and certificate."""
    artifact = load(engine, None)
    sizes = sizes_of(artifact.plan, parse_shapes(shapes))
    if as_json:
        print_json(_values(artifact, sizes))
        return
    console.print(facts_table(_facts(artifact, sizes, engine)))
    if steps:
        console.print(_step_table(artifact))


def _values(artifact: Artifact, sizes: dict[str, int]) -> dict[str, object]:
    memory = memory_report(artifact, sizes)
    return {
        "name": artifact.name,
        "inputs": {i.name: str(i.type) for i in artifact.plan.inputs},
        "outputs": {o.name: str(o.type) for o in artifact.plan.outputs},
        "built_for": artifact.built_for,
        "features": sorted(artifact.features),
        "steps": step_counts(artifact.plan),
        "kernels": kernel_counts(artifact.plan),
        "memory": {"at": sizes, "weights_bytes": memory.weights_bytes, "arena_bytes": memory.arena_bytes},
        "plan": [{"op": s.op, "kernel": _kernel(s), "loc": list(s.loc)} for s in all_steps(artifact.plan)],
        "certificate": dict(artifact.certificate),
    }


def _facts(artifact: Artifact, sizes: dict[str, int], path: Path) -> dict[str, object]:
    memory = memory_report(artifact, sizes)
    samples = artifact.certificate.get("samples", [])
    return {
        "engine": f"{artifact.name} ({path}, {mib(path.stat().st_size)})",
        "inputs": ", ".join(f"{i.name}: {i.type}" for i in artifact.plan.inputs),
        "outputs": ", ".join(f"{o.name}: {o.type}" for o in artifact.plan.outputs),
        "built for": artifact.built_for or "unknown",
        "needs": ", ".join(sorted(artifact.features)),
        "steps": ", ".join(f"{n} {kind}" for kind, n in step_counts(artifact.plan).items() if n),
        "kernels": ", ".join(f"{name} {n}" for name, n in kernel_counts(artifact.plan).items()),
        "memory": f"weights {mib(memory.weights_bytes)}, activations {mib(memory.arena_bytes)} "
        f"(reuse saves {mib(memory.saved_bytes)}), code {mib(len(artifact.code.data))}",
        "verified": f"on {len(samples)} set(s) of inputs" if samples else "no certificate",
    }


def _kernel(step: Step) -> str:
    return step.kernel if isinstance(step, KernelStep) else "host"


def _step_table(artifact: Artifact) -> Table:
    table = Table("#", "op", "kernel", "from", box=None, pad_edge=False)
    for i, step in enumerate(all_steps(artifact.plan)):
        table.add_row(str(i), step.op.split("(")[0], _kernel(step), ", ".join(step.loc[:4]))
    return table
