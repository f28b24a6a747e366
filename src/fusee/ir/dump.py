"""Graphs in files: the text after each stage, and the large constants beside it, so that work can start from there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fusee.base.errors import ParseError
from fusee.base.switches import dump_folder
from fusee.base.types import Array, DType
from fusee.ir.graph import Graph, Op
from fusee.ir.text import parse_graph, print_graph


def dump(graph: Graph, name: str) -> None:
    """Write ``name.txt`` where FUSEE_DUMP says; nothing when it says nothing."""
    folder = dump_folder()
    if folder is not None:
        write_graph(graph, folder / f"{name}.txt")


def write_graph(graph: Graph, path: Path) -> None:
    """Write the graph's text, and each large constant once to ``constants/<digest>.<type>.npy`` beside it."""
    constants: dict[str, Array] = {}
    folder = path.parent / "constants"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(print_graph(graph, constants, loc=True) + "\n")
    for digest, array in constants.items():
        folder.mkdir(exist_ok=True)
        file = folder / f"{digest}.{DType.of(array.dtype)}.npy"
        if not file.exists():
            np.save(file, array.view(np.uint8))


def read_graph(path: Path, ops: tuple[type[Op], ...]) -> Graph:
    """Read what ``write_graph`` wrote. Raises ParseError when the text does not parse or a type is not known."""
    constants = {file.name.split(".")[0]: _constant(file) for file in (path.parent / "constants").glob("*.npy")}
    return parse_graph(path.read_text(), ops, constants)


def _constant(file: Path) -> Array:
    kind = file.name.split(".")[1]
    if kind not in {d.value for d in DType}:
        raise ParseError(f"{file}: expected a name such as 5b1e.f32.npy, found no element type {kind!r}")
    return np.load(file, allow_pickle=False).view(DType(kind).numpy)
