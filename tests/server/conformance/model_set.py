"""The models that both servers are given, described once: configuration, and what they compute.

Triton runs each as a Python-backend ``model.py``; Fusee runs an ONNX model where it can be one, else a Python pipeline.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper

DTYPES = {
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "BOOL": TensorProto.BOOL,
    "BYTES": TensorProto.STRING,
}
LABELS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Port:
    """An input or output as config.pbtxt says it, without the batch axis."""

    name: str
    datatype: str
    dims: tuple[int, ...]
    more: str = ""

    def text(self) -> str:
        kind = "STRING" if self.datatype == "BYTES" else self.datatype
        return f'{{ name: "{self.name}" data_type: TYPE_{kind} dims: {list(self.dims)} {self.more} }}'


@dataclass(frozen=True)
class ServedModel:
    """One model. ``answer`` is the body of ``def answer(inputs, version)``: arrays by name to arrays by name, or a
    sequence of those for a decoupled model; '' where the server itself does it. ``graph`` is the same as an ONNX
    model's nodes, as (op, inputs, outputs), where that can be."""

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    max_batch_size: int
    answer: str
    graph: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = ()
    more: str = ""
    versions: tuple[int, ...] = (1,)
    is_loaded: bool = True

    @property
    def is_decoupled(self) -> bool:
        return "decoupled: true" in self.more

    @property
    def is_ensemble(self) -> bool:
        return "ensemble_scheduling" in self.more

    @property
    def is_labelled(self) -> bool:
        return any("label_filename" in port.more for port in self.outputs)

    def config(self, backend: str) -> str:
        """The config.pbtxt, with the line that names what runs the model."""
        ports = "\n".join(
            f"{side} [ {', '.join(port.text() for port in given)} ]"
            for side, given in (("input", self.inputs), ("output", self.outputs))
        )
        return f'name: "{self.name}"\n{backend}\nmax_batch_size: {self.max_batch_size}\n{ports}\n{self.more}\n'

    def onnx_model(self, version: int) -> onnx.ModelProto:
        """The same function as an ONNX model; a constant input "version" is the version's number."""
        batch: list[str | int | None] = ["batch"] if self.max_batch_size else []

        def values(ports: tuple[Port, ...]) -> list[onnx.ValueInfoProto]:
            return [
                helper.make_tensor_value_info(
                    p.name,
                    DTYPES[p.datatype],
                    [*batch, *(f"{p.name}_{i}" if d < 0 else d for i, d in enumerate(p.dims))],
                )
                for p in ports
            ]

        nodes = [helper.make_node(op, list(read), list(written)) for op, read, written in self.graph]
        used = any("version" in read for _, read, _ in self.graph)
        constants = [helper.make_tensor("version", TensorProto.INT32, [1], [version])] if used else []
        graph = helper.make_graph(nodes, self.name, values(self.inputs), values(self.outputs), constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _identity(datatype: str) -> ServedModel:
    return ServedModel(
        f"identity_{datatype.lower()}",
        (Port("INPUT0", datatype, (-1,)),),
        (Port("OUTPUT0", datatype, (-1,)),),
        8,
        'return {"OUTPUT0": inputs["INPUT0"]}',
        () if datatype in ("BYTES", "BF16") else (("Identity", ("INPUT0",), ("OUTPUT0",)),),
    )


def _pair(datatype: str, dims: tuple[int, ...], names: tuple[str, str]) -> tuple[Port, Port]:
    return Port(names[0], datatype, dims), Port(names[1], datatype, dims)


SUM_AND_DIFFERENCE = (
    ("Add", ("INPUT0", "INPUT1"), ("OUTPUT0",)),
    ("Sub", ("INPUT0", "INPUT1"), ("OUTPUT1",)),
)
SIMPLE_ANSWER = """a, b = inputs["INPUT0"], inputs["INPUT1"]
return {"OUTPUT0": a + b, "OUTPUT1": a - b}"""
SIMPLE_PORTS = {
    "inputs": _pair("INT32", (16,), ("INPUT0", "INPUT1")),
    "outputs": _pair("INT32", (16,), ("OUTPUT0", "OUTPUT1")),
}
QUEUE = """dynamic_batching {
  priority_levels: 2
  default_priority_level: 2
  default_queue_policy { timeout_action: REJECT allow_timeout_override: true max_queue_size: 4 }
}
instance_group [ { count: 1 kind: KIND_CPU } ]"""
CHAIN = """ensemble_scheduling { step [
  { model_name: "simple" model_version: -1
    input_map { key: "INPUT0" value: "INPUT0" } input_map { key: "INPUT1" value: "INPUT1" }
    output_map { key: "OUTPUT0" value: "sum" } output_map { key: "OUTPUT1" value: "difference" } },
  { model_name: "simple" model_version: -1
    input_map { key: "INPUT0" value: "sum" } input_map { key: "INPUT1" value: "difference" }
    output_map { key: "OUTPUT0" value: "OUTPUT0" } output_map { key: "OUTPUT1" value: "OUTPUT1" } }
] }"""

MODELS = (
    ServedModel(
        "simple",
        max_batch_size=8,
        answer=SIMPLE_ANSWER,
        graph=SUM_AND_DIFFERENCE,
        more="dynamic_batching { }",
        **SIMPLE_PORTS,
    ),
    ServedModel(
        "spare", max_batch_size=8, answer=SIMPLE_ANSWER, graph=SUM_AND_DIFFERENCE, is_loaded=False, **SIMPLE_PORTS
    ),
    *(_identity(datatype) for datatype in DTYPES),
    ServedModel(
        "simple_string",
        _pair("BYTES", (16,), ("INPUT0", "INPUT1")),
        _pair("BYTES", (16,), ("OUTPUT0", "OUTPUT1")),
        8,
        """a, b = (inputs[name].astype(np.int64) for name in ("INPUT0", "INPUT1"))
text = lambda values: np.vectorize(lambda v: str(v).encode(), otypes=[object])(values)
return {"OUTPUT0": text(a + b), "OUTPUT1": text(a - b)}""",
    ),
    ServedModel(
        "classes",
        (Port("INPUT0", "FP32", (10,)),),
        (Port("OUTPUT0", "FP32", (10,), 'label_filename: "labels.txt"'),),
        8,
        'return {"OUTPUT0": inputs["INPUT0"]}',
        (("Identity", ("INPUT0",), ("OUTPUT0",)),),
    ),
    ServedModel(
        "repeat",
        (Port("IN", "INT32", (-1,)),),
        (Port("OUT", "INT32", (1,)), Port("IDX", "UINT32", (1,))),
        0,
        """values = inputs["IN"]
return [{"OUT": values[i:i + 1], "IDX": np.array([i], np.uint32)} for i in range(len(values))]""",
        more="model_transaction_policy { decoupled: true }",
    ),
    ServedModel(
        "slow",
        (Port("DELAY_MS", "UINT32", (1,)),),
        (Port("OUTPUT0", "UINT32", (1,)),),
        1,
        """import time
time.sleep(int(inputs["DELAY_MS"].max()) / 1000)
return {"OUTPUT0": inputs["DELAY_MS"]}""",
        more=QUEUE,
    ),
    ServedModel(
        "no_batch",
        (Port("INPUT0", "FP32", (2, 3)), Port("INPUT1", "FP32", (2, -1))),
        (Port("OUTPUT0", "FP32", (2, 3)), Port("OUTPUT1", "FP32", (2, -1))),
        0,
        'return {"OUTPUT0": inputs["INPUT0"] + inputs["INPUT0"], "OUTPUT1": -inputs["INPUT1"]}',
        (("Add", ("INPUT0", "INPUT0"), ("OUTPUT0",)), ("Neg", ("INPUT1",), ("OUTPUT1",))),
    ),
    ServedModel(
        "versions",
        (Port("INPUT0", "INT32", (4,)),),
        (Port("OUTPUT0", "INT32", (4,)),),
        4,
        'return {"OUTPUT0": inputs["INPUT0"] + np.int32(version)}',
        (("Add", ("INPUT0", "version"), ("OUTPUT0",)),),
        "version_policy { specific { versions: [1, 3] } }",
        (1, 2, 3),
    ),
    ServedModel("chain", max_batch_size=8, answer="", more=CHAIN, **SIMPLE_PORTS),
)
