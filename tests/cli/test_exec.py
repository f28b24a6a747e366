"""fusee exec against what trtexec takes and prints: option grammar, summary lines, JSON files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from cli.conftest import Ended, Fusee, expected
from fusee.base.errors import RequestError
from fusee.cli.arguments import parse_shapes
from fusee.cli.trace import Query, Trace, percentile, record, statistics, summary_lines
from fusee.cli.trtexec_options import OPTIONS, REFUSED, WITHOUT_EFFECT, Execution, parse

QUICK = ("--duration=0", "--iterations=12", "--warmUp=0", "--threads=1")
FIELDS = ", ".join(rf"{name} = [\d.e+-]+ ms" for name in ("min", "max", "mean", "median"))
PERCENTS = ", ".join(rf"percentile\({p}%\) = [\d.e+-]+ ms" for p in (90, 95, 99))


def test_defaults_are_trtexecs():
    found = parse(["--onnx=m.onnx"])
    assert (found.iterations, found.duration, found.warm_up, found.avg_runs) == (10, 3.0, 200.0, 10)
    assert found.percentile == (90.0, 95.0, 99.0)


def test_options_of_versions_10_and_11_are_known():
    ten = "fp16 bf16 int8 fp8 int4 best calib precisionConstraints layerPrecisions layerOutputTypes minShapesCalib "
    ten += "calibProfile useCudaGraph noDataTransfers useSpinWait separateProfileRun directIO"
    eleven = "noCudaGraph includeDataTransfers noSpinWait stronglyTyped minShapes optShapes maxShapes profile vc "
    eleven += "memPoolSize builderOptimizationLevel timingCacheFile tuneBuildRoutes loadRefOutputs getPlanVersionOnly"
    known = OPTIONS.keys() | WITHOUT_EFFECT.keys() | REFUSED.keys()
    assert set((ten + " " + eleven).split()) <= known
    assert not OPTIONS.keys() & WITHOUT_EFFECT.keys()
    assert not OPTIONS.keys() & REFUSED.keys()
    assert not WITHOUT_EFFECT.keys() & REFUSED.keys()


def test_options_without_effect_are_kept_by_name():
    found = parse(["--onnx=m.onnx", "--fp16", "--memPoolSize=workspace:4G", "--fp16", '--layerPrecisions="*":fp16'])
    assert found == Execution(onnx="m.onnx", ignored=("fp16", "memPoolSize", "layerPrecisions"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--onnx=m.onnx --frobnicate",
            "unknown option '--frobnicate'; options are trtexec's, such as --onnx=model.onnx",
        ),
        ("m.onnx", "unknown option 'm.onnx'; options are trtexec's, such as --onnx=model.onnx"),
        ("--onnx=m.onnx --iterations=many", "--iterations=many: not a value for this option"),
        ("--onnx=m.onnx --iterations", "--iterations needs a value, as in --iterations=..."),
        ("--onnx=m.onnx --percentile=0", "--percentile takes numbers above 0 and up to 100, such as 90,99"),
        ("--onnx=m.onnx --avgRuns=0", "--avgRuns=0: expected 1 or more"),
        (
            "--onnx=m.onnx --refit",
            "--refit is not supported: weights cannot be changed in a built engine; build it again",
        ),
        ("--fp16", "expected one of --onnx=model.onnx and --loadEngine=file"),
    ],
)
def test_bad_options(words: str, message: str):
    with pytest.raises(RequestError) as caught:
        parse(words.split())
    assert str(caught.value) == f"exec: {message}"


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("in0:1x3x224x224,in1:1x128", {"in0": (1, 3, 224, 224), "in1": (1, 128)}),
        ("'in0':2x3,\"in1\":scalar", {"in0": (2, 3), "in1": ()}),
        ("in*:4", {"in0": (4,), "in1": (4,)}),
        ("*:4", {"in0": (4,), "in1": (4,), "other:0": (4,)}),
        ("other:0:7", {"other:0": (7,)}),
        ("none*:4", {"none*": (4,)}),
    ],
)
def test_shapes_grammar(text: str, shapes: dict[str, tuple[int, ...]]):
    assert parse_shapes(text, ("in0", "in1", "other:0")) == shapes


def test_percentiles_are_trtexecs():
    values = [float(i) for i in range(1, 101)]
    assert [percentile(values, p) for p in (50, 90, 95, 99, 100)] == [50.0, 90.0, 95.0, 100.0, 100.0]
    assert percentile([3.0, 1.0, 2.0], 1) == 1.0
    assert statistics(values, (90,)) == {"min": 1, "max": 100, "mean": 50.5, "median": 50.5, "percentile(90%)": 90.0}


def test_throughput_counts_queries_over_walltime():
    trace = Trace((Query(0.0, 2.0), Query(3.0, 7.0)), 5, 200.0, 0.01)
    assert trace.throughput_qps == 200.0
    lines = summary_lines(trace, (99,), averaged_runs=2)
    assert lines[0] == "Warmup completed 5 queries over 200 ms"
    assert lines[1] == "Timing trace has 2 queries over 0.01 s"
    assert "Average on 2 runs - GPU latency: 3 ms - Host latency: 3 ms (enqueue 0 ms)" in lines
    assert "Latency: min = 2 ms, max = 4 ms, mean = 3 ms, median = 3 ms, percentile(99%) = 4 ms" in lines
    assert lines[-2:] == ["Total Host Walltime: 0.01 s", "Total GPU Compute Time: 0.006 s"]


def test_recording_stops_after_iterations_and_duration():
    calls: list[int] = []
    trace = record(lambda: calls.append(0), iterations=7, duration_s=0, warmup_ms=0)
    assert (len(calls), len(trace.queries), trace.warmup_queries) == (7, 7, 0)


@pytest.fixture
def executed(cli: Fusee, linear_onnx: Path) -> Ended:
    files = ("times", "output", "profile", "layerInfo")
    exports = [f"--export{name[0].upper()}{name[1:]}={name}.json" for name in files]
    dumps = ("--dumpProfile", "--dumpOutput", "--dumpRawBindingsToFile", "--fp16")
    return cli("exec", f"--onnx={linear_onnx}", "--saveEngine=made.fusee", "--shapes='*':2x4", *QUICK, *exports, *dumps)


def test_lines_come_in_trtexecs_words_and_order(executed: Ended):
    assert executed.code == 0, executed.err
    wanted = (
        r"&&&& RUNNING Fusee\.exec \[Fusee v[\d.]+\] # fusee exec --onnx=",
        r"\[W\] --fp16 permits a lower precision",
        r"=== Model Options ===",
        r"=== Build Options ===",
        r"=== Inference Options ===",
        r"=== Reporting Options ===",
        r"=== Device Information ===",
        r"Start parsing network model\.",
        r"Finished parsing network model\. Parse time: [\d.e-]+",
        r"Engine built in [\d.]+ sec\.",
        r"Created engine with size: [\d.]+ MiB",
        r"Created execution context with device memory size: [\d.]+ MiB",
        r"Using random values for input data",
        r"Starting inference",
        r"Warmup completed 0 queries over 0 ms",
        r"Timing trace has 12 queries over [\d.e-]+ s",
        r"=== Trace details ===",
        r"Trace averages of 10 runs:",
        r"Average on 10 runs - GPU latency: [\d.e-]+ ms - Host latency: [\d.e-]+ ms \(enqueue 0 ms\)",
        r"=== Performance summary ===",
        r"Throughput: [\d.e+]+ qps",
        rf"Latency: {FIELDS}, {PERCENTS}$",
        rf"Enqueue Time: {FIELDS}, {PERCENTS}$",
        rf"H2D Latency: {FIELDS}, {PERCENTS}$",
        rf"GPU Compute Time: {FIELDS}, {PERCENTS}$",
        rf"D2H Latency: {FIELDS}, {PERCENTS}$",
        r"Total Host Walltime: [\d.e-]+ s",
        r"Total GPU Compute Time: [\d.e-]+ s",
        r"=== Profile \(10 iterations\) ===",
        r"\s+Time\(ms\)\s+Avg\.\(ms\)\s+Median\(ms\)\s+Time\(%\)\s+Layer",
        r"\s+[\d.]+\s+[\d.]+\s+[\d.]+\s+100\.0\s+Total",
        r"&&&& PASSED Fusee\.exec \[Fusee v[\d.]+\] # fusee exec --onnx=",
    )
    lines = iter(executed.out.splitlines())
    for pattern in wanted:
        assert any(re.match(pattern, line) for line in lines), f"{pattern} is missing or out of order"


def test_json_files(executed: Ended):
    times = json.loads(Path("times.json").read_text())
    stamps = [f"{edge}{what}Ms" for what in ("Enq", "H2d", "Compute", "D2h") for edge in ("start", "end")]
    assert len(times) == 12
    assert list(times[0]) == [*stamps, "h2dMs", "computeMs", "d2hMs", "latencyMs"]
    assert times[0]["latencyMs"] == pytest.approx(times[0]["endComputeMs"] - times[0]["startComputeMs"])
    head, *layers = json.loads(Path("profile.json").read_text())
    assert head == {"count": 10}
    assert all(list(row) == ["name", "timeMs", "averageMs", "medianMs", "percentage"] for row in layers)
    assert sum(row["percentage"] for row in layers) == pytest.approx(100)
    (output,) = json.loads(Path("output.json").read_text())
    assert (output["name"], output["dimensions"], len(output["values"])) == ("y", "2x3", 6)
    assert list(json.loads(Path("layerInfo.json").read_text())) == ["Layers", "I/O Tensors"]


def test_raw_bindings(executed: Ended):
    x = np.fromfile("x.2.4.Float.raw", np.float32).reshape(2, 4)
    y = np.fromfile("y.2.3.Float.raw", np.float32).reshape(2, 3)
    np.testing.assert_allclose(y, expected(x), rtol=1e-5, atol=1e-6)


def test_an_engine_file_with_raw_inputs(cli: Fusee, linear_engine: Path):
    x = np.ones((1, 4), np.float32)
    x.tofile("x.bin")
    ended = cli("exec", f"--loadEngine={linear_engine}", "--loadInputs='x':x.bin", "--exportOutput=y.json", *QUICK)
    assert ended.code == 0
    assert "Engine deserialized in" in ended.out
    assert "Using random values" not in ended.out
    (output,) = json.loads(Path("y.json").read_text())
    np.testing.assert_allclose(output["values"], expected(x).ravel(), rtol=1e-5, atol=1e-6)


def test_raw_inputs_of_another_size(cli: Fusee, linear_engine: Path):
    Path("x.bin").write_bytes(bytes(7))
    ended = cli("exec", f"--loadEngine={linear_engine}", "--loadInputs=x:x.bin", *QUICK)
    assert (ended.code, ended.err) == (2, "fusee: exec: x.bin has 7 bytes; x f32[N,4] takes 16\n")
    assert ended.out.splitlines()[-1].startswith("&&&& FAILED Fusee.exec ")


def test_inference_can_be_skipped(cli: Fusee, linear_onnx: Path):
    ended = cli("exec", f"--onnx={linear_onnx}", "--saveEngine=made.fusee", "--skipInference")
    assert ended.code == 0
    assert Path("made.fusee").is_file()
    assert "Starting inference" not in ended.out
    assert "&&&& PASSED" in ended.out


def test_a_failure_ends_in_trtexecs_line(cli: Fusee):
    ended = cli("exec", "--onnx=gone.onnx")
    assert (ended.code, ended.err) == (2, "fusee: gone.onnx: does not exist; expected an ONNX file\n")
    assert ended.out.splitlines()[-1].startswith("&&&& FAILED Fusee.exec ")
