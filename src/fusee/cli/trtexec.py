"""fusee exec: trtexec's options, summary lines and JSON files, for scripts that have them already."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import typer

from fusee.base.errors import RequestError
from fusee.base.types import Array
from fusee.cli.arguments import parse_shapes, sizes_of
from fusee.cli.feeds import random_inputs
from fusee.cli.trace import Trace, record, summary_lines, unsteady
from fusee.engine.report import memory_report
from fusee.runtime.engine import Engine, load
from fusee.runtime.profile import StepTime

# trtexec's options that change nothing here, and why; each use is reported.
REASONS = {
    "permits a lower precision; this engine computes in the model's own types": "fp16 bf16 int8 fp8 int4 best",
    "has no meaning on a CPU": "noTF32 stronglyTyped sparsity useCudaGraph noCudaGraph useSpinWait noSpinWait "
    "noDataTransfers includeDataTransfers exposeDMA useManagedMemory device",
    "is TensorRT's own": "memPoolSize builderOptimizationLevel maxTactics avgTiming tacticSources timingCacheFile "
    "noBuilderCache maxAuxStreams preview tempdir profilingVerbosity separateProfileRun allocationStrategy "
    "skipInference",
    "is not needed: an engine runs at any shape": "minShapes maxShapes",
}
WITHOUT_EFFECT = {option: reason for reason, options in REASONS.items() for option in options.split()}


@dataclass(frozen=True)
class Execution:
    """The options that are honoured, with trtexec's names and defaults."""

    onnx: str = ""
    save_engine: str = ""
    load_engine: str = ""
    shapes: str = ""
    load_inputs: str = ""
    iterations: int = 10
    duration: float = 3.0
    warm_up: float = 200.0
    avg_runs: int = 10
    percentile: tuple[float, ...] = (90.0, 95.0, 99.0)
    threads: int = 0
    verbose: bool = False
    dump_profile: bool = False
    dump_output: bool = False
    dump_layer_info: bool = False
    export_times: str = ""
    export_output: str = ""
    export_profile: str = ""
    export_layer_info: str = ""
    ignored: tuple[str, ...] = field(default=())


def _floats(text: str) -> tuple[float, ...]:
    return tuple(float(x) for x in text.split(","))


# trtexec's name -> our field, and how its value is read; None for a switch.
OPTIONS: dict[str, tuple[str, Callable[[str], Any] | None]] = {
    "onnx": ("onnx", str),
    "saveEngine": ("save_engine", str),
    "loadEngine": ("load_engine", str),
    "shapes": ("shapes", str),
    "optShapes": ("shapes", str),
    "loadInputs": ("load_inputs", str),
    "iterations": ("iterations", int),
    "duration": ("duration", float),
    "warmUp": ("warm_up", float),
    "avgRuns": ("avg_runs", int),
    "percentile": ("percentile", _floats),
    "threads": ("threads", int),
    "verbose": ("verbose", None),
    "dumpProfile": ("dump_profile", None),
    "dumpOutput": ("dump_output", None),
    "dumpLayerInfo": ("dump_layer_info", None),
    "exportTimes": ("export_times", str),
    "exportOutput": ("export_output", str),
    "exportProfile": ("export_profile", str),
    "exportLayerInfo": ("export_layer_info", str),
}


def parse(arguments: list[str]) -> Execution:
    """Read trtexec's command line. Raises RequestError for an option that is unknown or has a bad value."""
    values: dict[str, Any] = {}
    ignored: list[str] = []
    for argument in arguments:
        name, has_value, text = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or (name not in OPTIONS and name not in WITHOUT_EFFECT):
            raise RequestError(f"exec: unknown option {argument!r}; options are trtexec's, such as --onnx=model.onnx")
        if name in WITHOUT_EFFECT:
            ignored.append(name)
            continue
        key, read = OPTIONS[name]
        try:
            values[key] = read(text) if read and has_value else True if read is None else _missing(name)
        except ValueError:
            raise RequestError(f"exec: --{name}={text}: not a value for this option") from None
    options = Execution(**values, ignored=tuple(ignored))
    if bool(options.onnx) == bool(options.load_engine):
        raise RequestError("exec: expected one of --onnx=model.onnx and --loadEngine=file")
    return options


def _missing(name: str) -> Any:
    raise RequestError(f"exec: --{name} needs a value, as in --{name}=...")


def command(context: typer.Context) -> None:
    """Build and time a model with trtexec's options; see `fusee bench` for our own."""
    words = " ".join(context.args)
    print(f"&&&& RUNNING Fusee.exec # fusee exec {words}")
    options = parse(context.args)
    for name in options.ignored:
        print(f"[W] --{name} {WITHOUT_EFFECT[name]}; it has no effect")
    with _engine(options) as engine:
        _measure(engine, options)
    print(f"&&&& PASSED Fusee.exec # fusee exec {words}")


def _engine(options: Execution) -> Engine:
    start = perf_counter()
    if options.load_engine:
        engine = load(options.load_engine)
        print(f"Engine deserialized in {perf_counter() - start:.6g} sec.")
        return engine
    from fusee.build import BuildOptions, build

    engine = build(options.onnx, BuildOptions(shapes=parse_shapes(options.shapes)))
    print(f"Engine built in {perf_counter() - start:.6g} sec.")
    if options.save_engine:
        engine.save(options.save_engine)
        print(f"Created engine with size: {Path(options.save_engine).stat().st_size / 2**20:.6g} MiB")
    return engine


def _measure(engine: Engine, options: Execution) -> None:
    sizes = sizes_of(engine.plan, parse_shapes(options.shapes))
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
    _report(options, engine, trace, outputs, steps)


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


def _report(options: Execution, engine: Engine, trace: Trace, outputs: dict[str, Array], steps: list[StepTime]) -> None:
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
    _export(options.export_times, [q.exported() for q in trace.queries])
    _export(options.export_profile, [{"count": options.avg_runs}, *_profile_rows(steps, options.avg_runs)])
    _export(options.export_layer_info, info)
    described = [
        {"name": n, "dimensions": "x".join(map(str, a.shape)), "values": a.ravel().tolist()} for n, a in outputs.items()
    ]
    _export(options.export_output, described)


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
