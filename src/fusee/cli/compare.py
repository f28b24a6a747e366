"""fusee compare: an engine's answers beside ONNX Runtime's, and who is to blame when they differ."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fusee.base.errors import RequestError
from fusee.base.types import Array, DType
from fusee.build import BuildOptions, bisect, build_artifact
from fusee.cli.arguments import AsJson, Shapes, parse_shapes
from fusee.cli.output import console, print_json, stages
from fusee.ir.compare import Difference, compare
from fusee.onnx.importer import import_model
from fusee.runtime.engine import Engine
from fusee.verification.noise import excused
from fusee.verification.samples import make_samples

ONNXRUNTIME_ERROR = 1.5e-7  # of its sigmoid, absolute


def command(
    model: Annotated[Path, typer.Argument(help="The ONNX model.")],
    shapes: Shapes = "",
    seed: Annotated[int, typer.Option(help="Seed of the inputs.")] = 0,
    samples: Annotated[int, typer.Option(min=1, help="Sets of inputs.")] = 2,
    blame: Annotated[bool, typer.Option("--bisect", help="Find the pass or kernel to blame for a difference.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare an engine's answers with the reference interpreter's and ONNX Runtime's; exit code 1 if they differ."""
    sizes = parse_shapes(shapes)
    options = BuildOptions(shapes=sizes, seed=seed, samples=samples)
    with stages(f"building {model.name}", as_json) as progress:
        built = build_artifact(model, options, progress)
    graph = import_model(model)
    sets = make_samples(graph, seed, samples, sizes)
    found: list[tuple[str, str, Difference]] = []
    with Engine(built.artifact) as engine:
        for sample in sets:
            ours = engine.run(sample.feeds)
            judged = excused(compare(sample.expected, ours), graph, sample.feeds, sample.expected)
            found += [(sample.sizes(), "reference", d) for d in judged]
            theirs = onnxruntime_outputs(model, sample.feeds)
            beside = [_allowed(d, theirs, ours) for d in compare(theirs, ours)]
            judged = excused(beside, graph, sample.feeds, sample.expected)
            found += [(sample.sizes(), "ONNX Runtime", d) for d in judged]
    differs = any(not d.is_equal for _, _, d in found)
    guilty = bisect(model, options) if blame else None
    if as_json:
        print_json({"equal": not differs, "differences": [_values(*row) for row in found], "blame": str(guilty or "")})
    else:
        for at, judge, d in found:
            mark = "[green]equal[/green]" if d.is_equal else "[red]differs[/red]"
            console.print(f"{mark} from {judge} at {at}: {d}")
        if blame:
            console.print(f"blame: {guilty}" if guilty else "blame: every pass and every step alone is right")
    if differs:
        raise typer.Exit(1)


def _allowed(d: Difference, theirs: dict[str, Array], ours: dict[str, Array]) -> Difference:
    """The difference, with ONNX Runtime's own absolute error in f32, which is large beside a result near 0."""
    if d.is_equal or d.detail or d.dtype is not DType.F32:
        return d
    gap = float(np.nanmax(np.abs(theirs[d.name] - ours[d.name])))
    return replace(d, tolerance=max(d.tolerance, d.error * ONNXRUNTIME_ERROR / gap))


def _values(at: str, judge: str, d: Difference) -> dict[str, object]:
    error = d.error if np.isfinite(d.error) else None
    return {
        "at": at,
        "judge": judge,
        "output": d.name,
        "error": error,
        "tolerance": d.tolerance,
        "detail": d.detail,
        "equal": d.is_equal,
    }


def onnxruntime_outputs(model: Path, feeds: dict[str, Array]) -> dict[str, Array]:
    """What ONNX Runtime answers. Raises RequestError when it is not installed or refuses the model."""
    if find_spec("onnxruntime") is None:
        raise RequestError("compare needs ONNX Runtime: pip install 'fusee[bench]'")
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as err:  # ONNX Runtime's own errors share no base but Exception
        raise RequestError(f"{model}: ONNX Runtime does not load it: {err}") from None
    names = [o.name for o in session.get_outputs()]
    found = session.run(names, dict(feeds))
    return {name: np.asarray(array) for name, array in zip(names, found, strict=True)}
