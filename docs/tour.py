"""A model of four nodes on its way through every stage, each printed: ``python docs/tour.py``. A test runs it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx

import fusee
from fusee.base.target import detect_cpu
from fusee.engine.plan import KernelStep
from fusee.ir import reference
from fusee.ir.graph import const_array
from fusee.ir.passes import run_pipeline
from fusee.ir.text import print_graph
from fusee.kernels.cpu import CPU
from fusee.kernels.kernel import KernelCall, Operand
from fusee.onnx.importer import import_model
from fusee.passes import pipeline
from fusee.planner.plan import Planner
from fusee.planner.select import accepts
from fusee.runtime.engine import load


def stage(number: int, what: str) -> None:
    print(f"\n{number}. {what}\n")


# A model, as any exporter could write it: relu(x @ w * scale + bias) for any number of rows.
rng = np.random.default_rng(0)
w, scale = rng.standard_normal((8, 4)).astype(np.float32), np.full(4, 2, np.float32)
nodes = [
    onnx.helper.make_node("MatMul", ["x", "w"], ["product"]),
    onnx.helper.make_node("Mul", ["product", "scale"], ["scaled"]),
    onnx.helper.make_node("Add", ["scaled", "bias"], ["shifted"]),
    onnx.helper.make_node("Relu", ["shifted"], ["y"]),
]
float32 = onnx.TensorProto.FLOAT
x_info = onnx.helper.make_tensor_value_info("x", float32, ["N", 8])
y_info = onnx.helper.make_tensor_value_info("y", float32, ["N", 4])
weights = [onnx.numpy_helper.from_array(a, name) for name, a in (("w", w), ("scale", scale), ("bias", scale))]
model = onnx.helper.make_model(
    onnx.helper.make_graph(nodes, "tour", [x_info], [y_info], weights),
    opset_imports=[onnx.helper.make_opsetid("", 17)],
    ir_version=10,
)

stage(1, "fusee.onnx imports it: the same nodes as ops, every type known, N a name.")
graph = import_model(model)
print(print_graph(graph, loc=True))

stage(2, "fusee.ir.reference runs it on numpy: slow, obvious, the judge of everything that follows.")
x = rng.standard_normal((3, 8)).astype(np.float32)
expected = reference.run(graph, {"x": x})["y"]
print(expected)

stage(3, "fusee.passes rewrite it: which rules fired, and where.")


def has_kernel(op, operands) -> bool:
    given = [Operand(v.type, None, const_array(v)) for v in operands]
    return accepts(CPU, KernelCall.of(op, given, detect_cpu())) is not None


optimised, records = run_pipeline(graph, pipeline(has_kernel))
for record in records:
    for verdict in record.fired:
        print(f"{record.name}: {verdict}")
print(print_graph(optimised, loc=True))

stage(4, "fusee.planner picks a kernel for each group, and says where each tensor lies.")
plan = Planner(CPU, detect_cpu()).plan(optimised).plan
for step in plan.steps:
    assert isinstance(step, KernelStep)
    print(f"{step.op.split()[0]} <- {', '.join(step.loc)}\n  kernel {step.kernel}\n  units {step.units}")

stage(5, "fusee.build does all this, compiles the kernels, proves the engine and makes a file of it.")
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "tour.fusee"
    fusee.build(model).save(file)
    print(f"{file.name}: {file.stat().st_size} bytes")

    stage(6, "fusee.runtime runs the file; it needs numpy, and nothing of the above.")
    with load(file).session(threads=1) as session:
        found = session.run({"x": x})["y"]
        more = session.run({"x": np.repeat(x, 5, 0)})["y"]
print(found)
print("the same numbers:", np.allclose(found, expected, rtol=1e-5), "and any number of rows:", more.shape)
