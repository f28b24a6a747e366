"""Writes the model set as a repository for the real Triton, and as one for Fusee."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import onnx

from fusee.build import build_artifact
from fusee.engine import file
from server.conformance.model_set import LABELS, MODELS, Port, ServedModel

TRITON = """import numpy as np
import triton_python_backend_utils as backend


def answer(inputs, version):
{answer}


def response(outputs):
    return backend.InferenceResponse([backend.Tensor(name, array) for name, array in outputs.items()])


class TritonPythonModel:
    def initialize(self, arguments):
        self.version = int(arguments["model_version"])

    def run(self, request):
        return answer({{tensor.name(): tensor.as_numpy() for tensor in request.inputs()}}, self.version)

    def execute(self, requests):
{execute}
"""
EXECUTE = "return [response(self.run(request)) for request in requests]"
EXECUTE_DECOUPLED = """for request in requests:
    sender = request.get_response_sender()
    for outputs in self.run(request):
        sender.send(response(outputs))
    sender.send(flags=backend.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
return None"""
TRITON_BF16 = """import triton_python_backend_utils as backend


class TritonPythonModel:
    def execute(self, requests):
        return [self.run(request) for request in requests]

    def run(self, request):
        (given,) = request.inputs()
        return backend.InferenceResponse([backend.Tensor.from_dlpack("OUTPUT0", given.to_dlpack())])
"""


def write_triton(root: Path) -> None:
    """The models as Triton takes them: each a ``model.py`` of the Python backend."""
    for model in MODELS:
        backend = 'platform: "ensemble"' if model.is_ensemble else 'backend: "python"'
        for folder in _folders(root, model, backend):
            if not model.is_ensemble:
                (folder / "model.py").write_text(_triton_source(model))


def _triton_source(model: ServedModel) -> str:
    if model.name == "identity_bf16":
        return TRITON_BF16  # numpy has no such type, DLPack has
    execute = EXECUTE_DECOUPLED if model.is_decoupled else EXECUTE
    return TRITON.format(answer=textwrap.indent(model.answer, " " * 4), execute=textwrap.indent(execute, " " * 8))


def _folders(root: Path, model: ServedModel, backend: str) -> list[Path]:
    """The folder of each version, with config.pbtxt and labels written."""
    folders = [root / model.name / str(version) for version in model.versions]
    for folder in folders:
        folder.mkdir(parents=True)
    (root / model.name / "config.pbtxt").write_text(model.config(backend))
    if model.is_labelled:
        (root / model.name / "labels.txt").write_text("\n".join(LABELS) + "\n")
    return folders


PIPELINE = """from collections.abc import Iterator
from typing import Annotated, NamedTuple

import numpy as np

from fusee.base.types import Array
from fusee.server.pipelines import Call, tensor


def answer(inputs, version):
{answer}


class Answer(NamedTuple):
{outputs}


def run(call: Call, {inputs}) -> {gives}:
    {finish}
"""


LEFT_TO_THE_SERVER = ("simple",)  # ONNX models that it builds itself, each in a process of its own


def write_fusee(root: Path, models: Sequence[ServedModel] = MODELS) -> None:
    """The models as Fusee takes them: engines, an ONNX model, and Python pipelines for what ONNX cannot say."""
    for model in models:
        for version, folder in zip(model.versions, _folders(root, model, _fusee_platform(model)), strict=True):
            if model.graph and model.name in LEFT_TO_THE_SERVER:
                onnx.save(model.onnx_model(version), folder / "model.onnx")
            elif model.graph:
                file.save(build_artifact(model.onnx_model(version)).artifact, folder / "model.fusee")
            elif not model.is_ensemble:
                (folder / "pipeline.py").write_text(_fusee_source(model, version))


def _fusee_platform(model: ServedModel) -> str:
    return 'platform: "ensemble"' if model.is_ensemble else ""


def _fusee_source(model: ServedModel, version: int) -> str:
    given = ", ".join(f'"{port.name}": {port.name}' for port in model.inputs)
    outputs = f"answer({{{given}}}, {version})"
    finish = (
        f"yield from (Answer(**each) for each in {outputs})" if model.is_decoupled else f"return Answer(**{outputs})"
    )
    return PIPELINE.format(
        answer=textwrap.indent(model.answer, " " * 4),
        outputs="\n".join(f"    {_annotated(port)}" for port in model.outputs),
        inputs=", ".join(_annotated(port) for port in model.inputs),
        gives="Iterator[Answer]" if model.is_decoupled else "Answer",
        finish=finish,
    )


def _annotated(port: Port) -> str:
    return f'{port.name}: Annotated[Array, tensor("{port.datatype}", {", ".join(map(str, port.dims))})]'
