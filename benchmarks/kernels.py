"""Single layers against ONNX Runtime's own kernel for the same layer, interleaved, with the share of the FMA peak.

    PYTHONPATH=src:tests python -m benchmarks.kernels [name ...]

One thread. Ours is the CPU backend's first kernel with its first tactic, called without a session. ONNX Runtime's
figure is what its profiler reports for the node, so its layout conversions around the node do not count.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from benchmarks.machine import load_average, machine_facts
from fusee.base.target import CpuTarget, detect_cpu
from fusee.base.types import Array, TensorType
from fusee.ir.graph import Op
from fusee.kernels.cpu import CPU
from fusee.kernels.cpu.compile import Compiler
from fusee.kernels.kernel import Kernel, KernelCall, Operand
from fusee.ops.linear import Conv, MatMul
from fusee.peers.statistics import geometric_mean
from kernels.run_kernel import Job, Loaded, Memory, Place, emit, load

RNG = np.random.default_rng(0)
QUANTILE = 0.05  # of all times of a layer: low, because other work on the machine only ever adds


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer in both engines' forms."""

    op: Op
    arrays: tuple[Array, ...]  # ours: NHWC
    graph: onnx.GraphProto
    feeds: dict[str, Array]

    def call(self, target: CpuTarget) -> KernelCall:
        known = [Operand(TensorType.of(a), value=a if i else None) for i, a in enumerate(self.arrays)]
        return KernelCall.of(self.op, known, target)

    @property
    def flops(self) -> int:
        return int(str(self.op.flops(*[TensorType.of(a) for a in self.arrays])))


def floats(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def conv(size: int, c: int, o: int, k: int, stride: int = 1, group: int = 1, pad: int | None = None) -> Layer:
    p = k // 2 if pad is None else pad
    x, w, b = floats(1, size, size, c), floats(o, c // group, k, k) / np.float32(np.sqrt(c // group) * k), floats(o)
    attributes = {"strides": [stride] * 2, "pads": [p] * 4, "kernel_shape": [k] * 2, "group": group}
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], **attributes)
    weights = [numpy_helper.from_array(w, "w"), numpy_helper.from_array(b, "b")]
    op = Conv((stride,) * 2, (p,) * 4, (1, 1), group, "NHWC")
    return Layer(op, (x, w, b), _graph(node, (1, c, size, size), weights), {"x": x.transpose(0, 3, 1, 2).copy()})


def product(m: int, k: int, n: int) -> Layer:
    a, b = floats(m, k), floats(k, n) / np.float32(np.sqrt(k))
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return Layer(MatMul(), (a, b), _graph(node, (m, k), [numpy_helper.from_array(b, "w")]), {"x": a})


def _graph(node: onnx.NodeProto, shape: Sequence[int], weights: list[onnx.TensorProto]) -> onnx.GraphProto:
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))
    wanted = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    return helper.make_graph([node], "layer", [given], [wanted], weights)


LAYERS: dict[str, Callable[[], Layer]] = {
    "resnet 224 3-64 7x7/2": lambda: conv(224, 3, 64, 7, 2),
    "resnet 56 64-64 3x3": lambda: conv(56, 64, 64, 3),
    "resnet 56 64-256 1x1": lambda: conv(56, 64, 256, 1),
    "resnet 56 256-64 1x1": lambda: conv(56, 256, 64, 1),
    "resnet 56 128-128 3x3/2": lambda: conv(56, 128, 128, 3, 2),
    "resnet 56 256-512 1x1/2": lambda: conv(56, 256, 512, 1, 2),
    "resnet 28 128-128 3x3": lambda: conv(28, 128, 128, 3),
    "resnet 28 512-128 1x1": lambda: conv(28, 512, 128, 1),
    "resnet 28 128-512 1x1": lambda: conv(28, 128, 512, 1),
    "resnet 14 256-256 3x3": lambda: conv(14, 256, 256, 3),
    "resnet 14 1024-256 1x1": lambda: conv(14, 1024, 256, 1),
    "resnet 14 256-1024 1x1": lambda: conv(14, 256, 1024, 1),
    "resnet 7 512-512 3x3": lambda: conv(7, 512, 512, 3),
    "resnet 7 2048-512 1x1": lambda: conv(7, 2048, 512, 1),
    "resnet 7 512-2048 1x1": lambda: conv(7, 512, 2048, 1),
    "yolo 640 3-32 3x3/2": lambda: conv(640, 3, 32, 3, 2),
    "yolo 160 32-32 3x3": lambda: conv(160, 32, 32, 3),
    "yolo 80 128-64 1x1": lambda: conv(80, 128, 64, 1),
    "yolo 40 128-128 3x3": lambda: conv(40, 128, 128, 3),
    "yolo 20 256-256 3x3": lambda: conv(20, 256, 256, 3),
    "mobilenet 224 3-16 3x3/2": lambda: conv(224, 3, 16, 3, 2),
    "mobilenet 112 16-64 1x1": lambda: conv(112, 16, 64, 1),
    "mobilenet 56 64-24 1x1": lambda: conv(56, 64, 24, 1),
    "mobilenet 28 40-240 1x1": lambda: conv(28, 40, 240, 1),
    "mobilenet 14 80-480 1x1": lambda: conv(14, 80, 480, 1),
    "mobilenet 7 960-160 1x1": lambda: conv(7, 960, 160, 1),
    "depthwise 112x16 3x3": lambda: conv(112, 16, 16, 3, 1, 16),
    "depthwise 112x64 3x3/2": lambda: conv(112, 64, 64, 3, 2, 64),
    "depthwise 56x144 3x3": lambda: conv(56, 144, 144, 3, 1, 144),
    "depthwise 28x120 5x5": lambda: conv(28, 120, 120, 5, 1, 120),
    "depthwise 14x480 3x3": lambda: conv(14, 480, 480, 3, 1, 480),
    "depthwise 7x960 5x5": lambda: conv(7, 960, 960, 5, 1, 960),
    "depthwise 56x96 7x7": lambda: conv(56, 96, 96, 7, 1, 96),
    "vit 224 3-768 16x16/16": lambda: conv(224, 3, 768, 16, 16, pad=0),
    "vit 197x768x768": lambda: product(197, 768, 768),
    "vit 197x768x2304": lambda: product(197, 768, 2304),
    "vit 197x768x3072": lambda: product(197, 768, 3072),
    "vit 197x3072x768": lambda: product(197, 3072, 768),
    "bert 128x768x768": lambda: product(128, 768, 768),
    "bert 128x768x3072": lambda: product(128, 768, 3072),
    "bert 128x3072x768": lambda: product(128, 3072, 768),
    "convnext 3136x96x384": lambda: product(3136, 96, 384),
    "convnext 3136x384x96": lambda: product(3136, 384, 96),
    "classifier 1x2048x1000": lambda: product(1, 2048, 1000),
}


class Ready:
    """A job with its memory, to be run again and again."""

    def __init__(self, loaded: Loaded, job: Job, arrays: Sequence[Array]) -> None:
        places = {
            Place.OPERAND: [Memory.of(a, o, {}) for a, o in zip(arrays, job.call.operands, strict=True)],
            Place.RESULT: [Memory.empty(o, {}) for o in job.call.results],
            Place.CONSTANT: [Memory.aligned(a) for a in job.code.constants],
        }
        (launch,) = job.code.launches
        words = [places[p.place][p.index].address for p in launch.pointers]
        self._kept, self._args = (loaded, places), np.array([*words, 0], np.int64)
        self._scratch = Memory.aligned(np.zeros(int(str(launch.scratch_bytes)), np.uint8))
        self._function, self._units = loaded[launch.symbol], int(str(launch.units))

    def run(self) -> None:
        self._function(self._args.ctypes.data, 0, self._units, self._scratch.address)

    def times(self, runs: int) -> list[float]:
        """Microseconds of each run."""
        return [_timed(self.run) for _ in range(runs)]


def _timed(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e6


@dataclass(frozen=True)
class Row:
    """One layer's figures."""

    name: str
    kernel: str
    ours_us: float
    theirs_us: float
    flops: int

    @property
    def ratio(self) -> float:
        return self.theirs_us / self.ours_us

    def line(self, peak: float) -> str:
        rate = self.flops / self.ours_us / 1e3
        cells = (self.name, self.kernel, f"{self.ours_us:.1f}", f"{self.theirs_us:.0f}", f"{self.ratio:.2f}")
        return "| " + " | ".join((*cells, f"{rate:.0f}", f"{rate / peak:.2f}")) + " |"


def measure(name: str, compiler: Compiler, rounds: int) -> Row:
    layer = LAYERS[name]()
    call = layer.call(compiler.target)
    kernel: Kernel = next(k for k in CPU.kernels_for(layer.op) if not k.refuses(call))
    job = emit(kernel, call, kernel.tactics(call)[0], "layer")
    ready = Ready(load(compiler, [job]), job, layer.arrays)
    ready.times(2)
    runs = max(5, min(60, int(8000 / ready.times(3)[0])))
    ours: list[float] = []
    with TemporaryDirectory() as folder:
        session = _session(layer, Path(folder))
        for _ in range(rounds):
            ours += ready.times(runs)
            for _ in range(runs):
                session.run(None, layer.feeds)
        theirs = _profiled(session)
    return Row(name, kernel.name, _low(ours), _low(theirs), layer.flops)


def _low(times: Sequence[float]) -> float:
    return float(np.quantile(np.array(times), QUANTILE))


def _session(layer: Layer, folder: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    model = helper.make_model(layer.graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    session.run(None, layer.feeds)
    return session


def _profiled(session: ort.InferenceSession) -> list[float]:
    """The times of the layer's own node in microseconds."""
    events = json.loads(Path(session.end_profiling()).read_text())
    timed = [e for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")]
    return [e["dur"] for e in timed if e["args"]["op_name"] in ("Conv", "MatMul")]


def peak_gflops(compiler: Compiler) -> float:
    """What a matrix product that stays in the first-level cache reaches: as good as the FMA peak of one core."""
    layer = product(560, 128, 64)
    call = layer.call(compiler.target)
    kernel = next(k for k in CPU.kernels_for(layer.op) if not k.refuses(call))
    job = emit(kernel, call, kernel.tactics(call)[0], "peak")
    return layer.flops / min(Ready(load(compiler, [job]), job, layer.arrays).times(500)) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts of names of layers; all when none is given")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    names = [n for n in LAYERS if not options.names or any(part in n for part in options.names)]
    facts = machine_facts()
    print(f"{facts['cpu']} ({facts['family']}), {facts['versions']}, load {load_average():.1f}\n")
    with Compiler(detect_cpu(), 1) as compiler:
        peak = peak_gflops(compiler)
        print(f"1 thread, FMA peak {peak:.0f} GFLOP/s\n")
        print("| layer | kernel | ours us | ORT us | ORT/ours | GFLOP/s | of peak |\n|---|---|---|---|---|---|---|")
        rows: list[Row] = []
        for name in names:
            rows.append(measure(name, compiler, options.rounds))
            print(rows[-1].line(peak), flush=True)
    print(f"\ngeometric mean of ORT/ours: {geometric_mean([row.ratio for row in rows]):.2f}\n")


if __name__ == "__main__":
    main()
