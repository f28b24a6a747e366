"""Engines straight from graphs, with the drawing they were planned from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from fusee.base.types import Array
from fusee.engine.artifact import Artifact
from fusee.engine.weights import pack_weights
from fusee.ir import reference
from fusee.ir.compare import compare
from fusee.ir.graph import Graph, Op, Value, const_array
from fusee.ir.passes import run_pipeline
from fusee.kernels.cpu import CPU
from fusee.kernels.cpu.compile import Compiler, Source
from fusee.kernels.cpu.dispatch import DECLARATIONS, DISPATCH_TEXT
from fusee.kernels.kernel import KernelCall, Operand
from fusee.passes import pipeline
from fusee.planner.plan import Planned, Planner
from fusee.planner.select import accepts
from fusee.runtime.engine import Engine
from planner.soundness import problems


@dataclass(frozen=True, eq=False)
class Made:
    planned: Planned
    engine: Engine


@contextmanager
def made(graph: Graph, compiler: Compiler) -> Iterator[Made]:
    planned = Planner(CPU, compiler.target).plan(graph)
    declarations = frozenset(planned.book.declarations)
    sources = [Source(name, text, declarations) for name, text in planned.book.texts.items()]
    image = compiler.image([Source("dispatcher", DISPATCH_TEXT, DECLARATIONS), *sources])
    weights = pack_weights(planned.weights.arrays)
    target = compiler.target
    with Engine(Artifact(planned.plan, image, weights, target.features, built_for=target.model)) as engine:
        yield Made(planned, engine)


def optimised(graph: Graph, compiler: Compiler) -> Graph:
    def accepted(op: Op, operands: tuple[Value, ...]) -> bool:
        given = [Operand(v.type, None, const_array(v)) for v in operands]
        return accepts(CPU, KernelCall.of(op, given, compiler.target)) is not None

    return run_pipeline(graph, pipeline(accepted))[0]


def assert_right(
    graph: Graph, feeds: Sequence[Mapping[str, Array]], compiler: Compiler, threads: Sequence[int] = (1, 2)
) -> Planned:
    """The engine of the graph gives what the reference gives on each input in turn, and its memory is sound."""
    expected = [reference.run(graph, given) for given in feeds]
    with made(graph, compiler) as found:
        for count in threads:
            with found.engine.session(threads=count) as session:
                for given, wanted in zip(feeds, expected, strict=True):
                    off = [str(d) for d in compare(wanted, session.run(given)) if not d.is_equal]
                    assert not off, (count, {n: a.shape for n, a in given.items()}, off)
        for drawing in found.planned.drawings:
            assert problems(drawing, dict.fromkeys(drawing.graph.free_symbols(), 3)) == []
    return found.planned


def normal(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape).astype(np.float32)
