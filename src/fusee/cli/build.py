"""fusee build: an ONNX model into a verified engine file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusee.base.errors import RequestError
from fusee.base.target import detect_cpu
from fusee.build import BuildOptions, BuildReport, build_artifact
from fusee.cli.arguments import AsJson, Shapes, parse_shapes, sizes_of
from fusee.cli.output import console, facts_table, mib, print_json, stages
from fusee.engine.artifact import Artifact
from fusee.engine.file import save
from fusee.engine.report import kernel_counts, memory_report, step_counts

ISA_LEVELS = ("native", "avx2")


def command(
    model: Annotated[Path, typer.Argument(help="The ONNX model, or an engine that carries its model.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The engine file [model's name].fusee.")] = None,
    shapes: Shapes = "",
    isa: Annotated[str, typer.Option(help="native for this machine, or avx2 for any x86-64 with AVX2.")] = "native",
    seed: Annotated[int, typer.Option(help="Seed of the inputs that the engine is judged on.")] = 0,
    portable: Annotated[
        bool, typer.Option("--portable", help="Take the model along, to build again elsewhere.")
    ] = False,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Compile a model into an engine for this machine; it is verified, or not saved."""
    if isa not in ISA_LEVELS:
        raise RequestError(f"--isa {isa!r}: expected one of {', '.join(ISA_LEVELS)}")
    target = detect_cpu() if isa == "native" else detect_cpu().with_isa(isa)
    options = BuildOptions(target, parse_shapes(shapes), seed=seed, portable=portable)
    path = output or Path(model.name).with_suffix(".fusee")
    if not path.parent.is_dir():
        raise RequestError(f"{path}: its folder does not exist")
    with stages(f"building {model.name}", quiet or as_json) as progress:
        built = build_artifact(model, options, progress)
    save(built.artifact, path)
    sizes = sizes_of(built.artifact.plan, parse_shapes(shapes))
    if as_json:
        print_json(summary(built.artifact, built.report, sizes, path))
    elif not quiet:
        console.print(facts_table(facts(built.artifact, built.report, sizes, path)))


def summary(artifact: Artifact, report: BuildReport, sizes: dict[str, int], path: Path) -> dict[str, object]:
    """Everything the summary says, as values."""
    memory = memory_report(artifact, sizes)
    return {
        "engine": str(path),
        "size_bytes": path.stat().st_size,
        "build_s": report.total_seconds,
        "stages_s": dict(report.seconds),
        "nodes": {"before": report.nodes_before, "after": report.nodes_after},
        "passes": [{"name": p.name, "before": p.nodes_before, "after": p.nodes_after} for p in report.passes],
        "rules_fired": _fired(report),
        "steps": step_counts(artifact.plan),
        "kernels": kernel_counts(artifact.plan),
        "memory": {
            "at": sizes,
            "weights_bytes": memory.weights_bytes,
            "arena_bytes": memory.arena_bytes,
            "without_reuse_bytes": memory.separate_bytes,
            "peak_bytes": memory.peak_bytes,
        },
        "excluded": [str(b) for b in report.excluded],
        "certificate": dict(report.certificate),
    }


def _fired(report: BuildReport) -> dict[str, int]:
    counts: dict[str, int] = {}
    for record in report.passes:
        for verdict in record.fired:
            counts[verdict.rule] = counts.get(verdict.rule, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def facts(artifact: Artifact, report: BuildReport, sizes: dict[str, int], path: Path) -> dict[str, str]:
    """The summary for people, line by line."""
    memory = memory_report(artifact, sizes)
    steps = step_counts(artifact.plan)
    others = "".join(f", {n} {kind}" for kind, n in steps.items() if n and kind != "native")
    native = f"{steps['native']} compiled{others}"
    at = ", ".join(f"{name}={size}" for name, size in sizes.items())
    fired = ", ".join(f"{name} {n}" for name, n in list(_fired(report).items())[:8])
    kernels = ", ".join(f"{name} {n}" for name, n in kernel_counts(artifact.plan).items())
    stage_times = ", ".join(f"{name} {seconds:.2f}" for name, seconds in report.seconds.items() if name)
    lines = {
        "engine": f"{path} ({mib(path.stat().st_size)})",
        "nodes": f"{report.nodes_before} as imported, {report.nodes_after} after optimisation",
        "rules": fired or "none fired",
        "steps": native,
        "kernels": kernels,
        "memory": f"weights {mib(memory.weights_bytes)}, activations {mib(memory.arena_bytes)} "
        f"(reuse saved {mib(memory.saved_bytes)}), peak {mib(memory.peak_bytes)}" + (f" at {at}" if at else ""),
        "build": f"{report.total_seconds:.2f} s ({stage_times})",
        "verified": verified(report),
    }
    if report.excluded:
        lines["left out"] = "; ".join(map(str, report.excluded))
    return lines


def verified(report: BuildReport) -> str:
    """One line on what the build proved."""
    samples = report.certificate["samples"]
    shares = [o["error"] / o["tolerance"] for s in samples for o in s["outputs"] if o["tolerance"]]
    worst = f"largest error {max(shares):.1%} of what is allowed" if shares else "all equal"
    return f"against the reference on {len(samples)} set(s) of inputs: {worst}"
