"""Options that several commands take, and how their text is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fusee.base.errors import RequestError
from fusee.base.given import given_sizes
from fusee.engine.plan import Plan
from fusee.runtime.engine import Engine, load

Shapes = Annotated[
    str, typer.Option("--shapes", help="Sizes of inputs, as in trtexec: name:1x3x224x224,other:1x128", metavar="SPEC")
]
Threads = Annotated[int, typer.Option("--threads", "-t", min=0, help="Threads; 0 takes the machine's cores.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Model = Annotated[Path, typer.Argument(help="An ONNX model, or an engine that `fusee build` made.")]


def parse_shapes(text: str, inputs: Sequence[str] = ()) -> dict[str, tuple[int, ...]]:
    """``in0:1x3x224x224,'in1':1x128`` (``scalar`` for no dimensions), in trtexec's grammar. Raises RequestError.

    A name may hold one ``*``, which stands for anything in the names of ``inputs``.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for part in filter(None, text.split(",")):
        name, found, sizes = part.strip().rpartition(":")
        digits = [] if sizes == "scalar" else sizes.split("x")
        if not found or not all(d.isdigit() for d in digits):
            raise RequestError(f"--shapes {part.strip()!r}: expected name:1x3x224x224, or name:scalar")
        for matching in _matching(name.strip("'\""), inputs):
            shapes[matching] = tuple(int(d) for d in digits)
    return shapes


def _matching(name: str, inputs: Sequence[str]) -> list[str]:
    if name in inputs or name.count("*") != 1:
        return [name]
    before, after = name.split("*")
    length = len(before) + len(after)
    return [i for i in inputs if len(i) >= length and i.startswith(before) and i.endswith(after)] or [name]


def sizes_of(plan: Plan, shapes: dict[str, tuple[int, ...]], default: int = 1) -> dict[str, int]:
    """Values for the names in a plan's inputs: from the shapes given, else ``default``. Raises RequestError."""
    sizes = given_sizes({i.name: i.type for i in plan.inputs}, shapes)
    for item in plan.inputs:
        for name in sorted(item.type.symbols()):
            sizes.setdefault(name, default)
        sizes.update({element: sizes.get(element, default) for element in item.elements})
    return sizes


def open_engine(path: Path, shapes: dict[str, tuple[int, ...]], quiet: bool) -> Engine:
    """The engine in a file; an ONNX model is built first. Raises FuseeError."""
    if path.suffix == ".onnx":
        from fusee.build import BuildOptions, build
        from fusee.cli.output import stages

        with stages(f"building {path.name}", quiet) as progress:
            return build(path, BuildOptions(shapes=shapes), progress)
    return load(path)
