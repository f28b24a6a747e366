"""A model inside an engine file: its graph as text and its weights, from which any machine can build again."""

from __future__ import annotations

import io
import zipfile

import numpy as np

from fusee.base.errors import EngineError, ModelError, ParseError
from fusee.base.types import Array, DType
from fusee.engine.artifact import Artifact
from fusee.ir.graph import Graph
from fusee.ir.text import parse_graph, print_graph
from fusee.ops import OPS


def pack_graph(graph: Graph) -> tuple[str, bytes]:
    """The graph's text, and its large constants as the bytes of an .npz named ``digest.type.shape``."""
    constants: dict[str, Array] = {}
    text = print_graph(graph, constants, loc=True)
    blob = io.BytesIO()
    np.savez(blob, allow_pickle=False, **{_name(d, a): _bytes_of(a) for d, a in sorted(constants.items())})
    return text, blob.getvalue()


def _name(digest: str, array: Array) -> str:
    return f"{digest}.{DType.of(array.dtype)}.{'x'.join(map(str, array.shape))}"


def _bytes_of(array: Array) -> Array:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def unpack_graph(artifact: Artifact) -> Graph:
    """The model an engine was built from. Raises ModelError when it carries none, EngineError when that is damaged."""
    if not artifact.graph:
        raise ModelError(
            f"{artifact.name}: an engine without its model; build from the ONNX file, "
            "or build the engine with --portable to take the model along"
        )
    try:
        with np.load(io.BytesIO(bytes(artifact.graph_weights)), allow_pickle=False) as arrays:
            constants = dict(_constant(name, arrays[name]) for name in arrays.files)
        return parse_graph(artifact.graph, OPS, constants)
    except (ValueError, KeyError, zipfile.BadZipFile, ParseError) as err:
        raise EngineError(f"{artifact.name}: the model in the engine cannot be read: {err}") from None


def _constant(name: str, raw: Array) -> tuple[str, Array]:
    digest, kind, shape = name.split(".")
    sizes = tuple(int(n) for n in shape.split("x") if n)
    return digest, raw.view(DType(kind).numpy).reshape(sizes)
