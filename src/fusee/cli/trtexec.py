"""fusee exec: trtexec's options, summary lines and JSON files, for scripts that have them already."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import typer

from fusee.base.errors import FuseeError, RequestError
from fusee.base.target import detect_cpu
from fusee.base.types import Array
from fusee.cli.arguments import parse_shapes, sizes_of
from fusee.cli.feeds import random_inputs
from fusee.cli.trace import Trace, record, summary_lines, unsteady
from fusee.cli.trtexec_options import WITHOUT_EFFECT, Execution, described, parse
from fusee.engine.report import memory_report
from fusee.runtime.engine import Engine, load
from fusee.runtime.profile import StepTime

Progress = Callable[[str, float], None]
# numpy's names -> those in trtexec's file names
RAW_TYPES = {
    "float32": "Float",
    "float16": "Half",
    "bfloat16": "BFloat16",
    "int32": "Int32",
    "int64": "Int64",
    "int8": "Int8",
    "uint8": "UInt8",
    "bool": "Bool",
}


def command(context: typer.Context) -> None:
    """Build and time a model with trtexec's options; see `fusee bench` for our own."""
    words = " ".join(context.args)
    print(f"&&&& RUNNING Fusee.exec [Fusee v{version('fusee')}] # fusee exec {words}")
    try:
        _execute(parse(context.args))
    except FuseeError:
        print(f"&&&& FAILED Fusee.exec [Fusee v{version('fusee')}] # fusee exec {words}", flush=True)
        raise
    print(f"&&&& PASSED Fusee.exec [Fusee v{version('fusee')}] # fusee exec {words}")


def _execute(options: Execution) -> None:
    for name in options.ignored:
        print(f"[W] --{name} {WITHOUT_EFFECT[name]}; it has no effect")
    cpu = detect_cpu()
    print("\n".join(described(options)))
    print(f"=== Device Information ===\nSelected Device: {cpu.model}\nCores: {cpu.cores}\nISA: {cpu.isa}")
    with _engine(options) as engine:
        if options.skip_inference:
            print("Skipped inference phase since --skipInference is added.")
            return
        _measure(engine, options)


def _engine(options: Execution) -> Engine:
    start = perf_counter()
    if options.load_engine:
        engine = load(options.load_engine)
        print(f"Engine deserialized in {perf_counter() - start:.6g} sec.")
        return engine
    from fusee.build import BuildOptions, build

    shapes = parse_shapes(options.shapes, _input_names(options.onnx) if "*" in options.shapes else ())
    engine = build(options.onnx, BuildOptions(shapes=shapes), _announced(start))
    print(f"Engine built in {perf_counter() - start:.6g} sec.")
    if options.save_engine:
        engine.save(options.save_engine)
        print(f"Created engine with size: {Path(options.save_engine).stat().st_size / 2**20:.6g} MiB")
    return engine


def _input_names(model: str) -> list[str]:
    from fusee.onnx.loader import load_model

    return [i.name for i in load_model(model).graph.input]


def _announced(start: float) -> Progress:
    """Prints trtexec's lines on parsing as the stages of a build go by."""

    def begin(stage: str, _share: float) -> None:
        if stage == "import":
            print("Start parsing network model.")
        elif stage == "reference":
            print(f"Finished parsing network model. Parse time: {perf_counter() - start:.6g}")

    return begin


def _measure(engine: Engine, options: Execution) -> None:
    sizes = sizes_of(engine.plan, parse_shapes(options.shapes, [i.name for i in engine.inputs]))
    feeds = random_inputs(engine.plan, sizes, seed=0) | _loaded(engine, options.load_inputs, sizes)
    memory = memory_report(engine.artifact, sizes)
    print(f"Created execution context with device memory size: {memory.arena_bytes / 2**20:.6g} MiB")
    if not options.load_inputs:
        print("Using random values for input data")
    print("Starting inference")
    with engine.session(options.threads or None) as session:
        outputs = session.run(feeds)
        trace = record(lambda: session.run(feeds), options.iterations, options.duration, options.warm_up)
        print("\n".join(summary_lines(trace, options.percentile, options.avg_runs)))
        if warning := unsteady(trace):
            print(f"[W] {warning}")
        steps = session.profile(feeds, options.avg_runs) if options.dump_profile or options.export_profile else []
    _report(options, engine, trace, steps, feeds, outputs)


def _loaded(engine: Engine, text: str, sizes: dict[str, int]) -> dict[str, Array]:
    """Raw files of --loadInputs=name:file,… in the inputs' element types."""
    known = {i.name: i for i in engine.inputs}
    feeds: dict[str, Array] = {}
    for part in filter(None, text.split(",")):
        name, _, file = part.partition(":")
        name = name.strip("'\"")
        if name not in known:
            raise RequestError(f"exec: --loadInputs names {name!r}; the inputs are {', '.join(known)}")
        shape, dtype = known[name].type.bind(sizes), known[name].type.dtype.numpy
        found = np.fromfile(file, np.uint8)
        if found.size != int(np.prod(shape)) * dtype.itemsize:
            wanted = int(np.prod(shape)) * dtype.itemsize
            raise RequestError(f"exec: {file} has {found.size} bytes; {name} {known[name].type} takes {wanted}")
        feeds[name] = found.view(dtype).reshape(shape)
    return feeds


def _report(
    options: Execution,
    engine: Engine,
    trace: Trace,
    steps: list[StepTime],
    feeds: dict[str, Array],
    outputs: dict[str, Array],
) -> None:
    layers = [{"Name": _layer_name(s), "LayerType": s.op.split("(")[0], "TacticName": s.kernel} for s in steps]
    info = {"Layers": layers, "I/O Tensors": [*[i.name for i in engine.inputs], *[o.name for o in engine.outputs]]}
    if options.dump_profile:
        print("\n".join(_profile_table(steps, options.avg_runs)))
    if options.dump_layer_info:
        json.dump(info, sys.stdout, indent=2)
        print()
    if options.dump_output:
        for name, array in outputs.items():
            print(f"{name}: ({'x'.join(map(str, array.shape))})\n{' '.join(str(x) for x in array.ravel()[:1000])}")
    if options.dump_raw_bindings:
        _dump_raw(feeds | outputs)
    _export(options.export_times, [q.exported() for q in trace.queries])
    _export(options.export_profile, [{"count": options.avg_runs}, *_profile_rows(steps, options.avg_runs)])
    _export(options.export_layer_info, info)
    described = [
        {"name": n, "dimensions": "x".join(map(str, a.shape)), "values": a.ravel().tolist()} for n, a in outputs.items()
    ]
    _export(options.export_output, described)


def _dump_raw(tensors: dict[str, Array]) -> None:
    """Each tensor's bytes in a file named as trtexec names it: name.1.3.224.224.Float.raw."""
    for name, array in tensors.items():
        sizes = ".".join(map(str, array.shape))
        path = Path(f"{name.replace('/', '_')}.{sizes}.{RAW_TYPES.get(array.dtype.name, array.dtype.name)}.raw")
        path.write_bytes(array.tobytes())
        print(f"{name} written to {path}")


def _export(path: str, value: Any) -> None:
    if path:
        Path(path).write_text(json.dumps(value, default=float))


def _layer_name(step: StepTime) -> str:
    return " + ".join(step.loc) or step.op


def _profile_rows(steps: list[StepTime], runs: int) -> list[dict[str, Any]]:
    total = sum(s.time_us for s in steps) or 1.0
    return [
        {
            "name": _layer_name(s),
            "timeMs": s.time_us * runs / 1e3,
            "averageMs": s.time_us / 1e3,
            "medianMs": s.time_us / 1e3,
            "percentage": 100 * s.time_us / total,
        }
        for s in steps
    ]


def _profile_table(steps: list[StepTime], runs: int) -> list[str]:
    rows = _profile_rows(steps, runs)
    lines = [f"=== Profile ({runs} iterations) ===", "   Time(ms)     Avg.(ms)   Median(ms)   Time(%)   Layer"]
    for r in rows:
        figures = f"{r['timeMs']:11.2f}  {r['averageMs']:11.4f}  {r['medianMs']:11.4f}  {r['percentage']:8.1f}"
        lines.append(f"{figures}   {r['name']}")
    total = sum(r["timeMs"] for r in rows)
    return [*lines, f"{total:11.2f}  {total / runs:11.4f}  {total / runs:11.4f}  {100.0:8.1f}   Total"]
