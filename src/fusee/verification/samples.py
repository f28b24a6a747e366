"""Inputs to judge an engine with: seeded, in range for what the graph does with them, at several sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from fusee.base.dims import symbols
from fusee.base.errors import FuseeError, RequestError
from fusee.base.types import Array, DType
from fusee.ir import reference
from fusee.ir.graph import Graph, Input, Node, Value, const_array, input_op
from fusee.ops.binary import Equal
from fusee.ops.elementwise import Cast
from fusee.ops.index import Gather, GatherElements
from fusee.ops.shape import Reshape, Slice, Transpose
from fusee.planner.views import users_of

# Sizes tried for a dimension that is a name, the likeliest to suit a model first.
FIRST_SIZES = (1, 2, 3)
OTHER_SIZES = (64, 32, 96, 512, 128, 16, 224, 320, 8, 4, 5, 1, 2, 3)
MAX_STEPS_TO_INDEX = 8


@dataclass(frozen=True)
class Sample:
    """One set of inputs, what they should give, and the seed that makes them again."""

    feeds: dict[str, Array]
    expected: dict[str, Array]
    seed: int

    def sizes(self) -> str:
        return ", ".join(f"{name}={'x'.join(map(str, a.shape)) or 'scalar'}" for name, a in self.feeds.items())


def make_samples(
    graph: Graph, seed: int, count: int = 1, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> list[Sample]:
    """Up to ``count`` samples at different sizes, each run through the reference.

    Sizes are the caller's ``shapes``, else tried until the reference accepts them. Raises the reference's own error
    when it accepts none.
    """
    samples: list[Sample] = []
    failure: FuseeError | None = None
    for attempt, sizes in enumerate(_assignments(graph, shapes or {})):
        try:
            samples.append(_sample(graph, random_feeds(graph, sizes, seed + attempt), seed + attempt))
        except FuseeError as err:
            failure = failure or err
        if len(samples) >= count:
            return samples
    if not samples and failure is not None:
        raise failure
    return samples


def given_sample(graph: Graph, feeds: Mapping[str, Array]) -> Sample:
    """The caller's inputs with what the reference makes of them. Raises RequestError when they do not fit."""
    return _sample(graph, dict(feeds), seed=-1)


def _sample(graph: Graph, feeds: dict[str, Array], seed: int) -> Sample:
    try:
        return Sample(feeds, reference.run(graph, feeds), seed)
    except (ValueError, IndexError, ArithmeticError) as err:
        given = Sample(feeds, {}, seed).sizes()
        raise RequestError(
            f"{graph.name} does not run on inputs of sizes {given}: {err}; give sizes or inputs that suit it"
        ) from err


def _assignments(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[dict[str, int]]:
    """Values for the names in input shapes: the given shapes alone, else one combination after another."""
    given: dict[str, int] = {}
    for value in graph.inputs:
        for dim, size in zip(value.type.shape, shapes.get(input_op(value).name, ()), strict=False):
            given.update(dict.fromkeys(symbols(dim), size))
    shapes_of = [v.type.shape for v in graph.inputs if v.type.shape]
    names = set().union(*[symbols(shape) for shape in shapes_of]) - given.keys()
    first = {n for shape in shapes_of for n in symbols(shape[0])}
    inner = {n for shape in shapes_of if len(shape) > 1 for n in symbols(shape[:-1])}
    if not names:
        yield given
        return
    for i, size in enumerate(OTHER_SIZES):
        batch = FIRST_SIZES[i % len(FIRST_SIZES)]
        # Images grow in every axis but the first; sequences and states in the last one only.
        for small in dict.fromkeys((frozenset(first), frozenset(first | inner))):
            yield given | {n: batch if n in small else size for n in sorted(names)}


def random_feeds(graph: Graph, sizes: Mapping[str, int], seed: int) -> dict[str, Array]:
    """Seeded inputs of the graph at the given sizes."""
    rng = np.random.default_rng(seed)
    bounds, asked = index_bounds(graph), asked_for(graph)
    return {
        input_op(v).name: _random(input_op(v), v.type.bind(sizes), bounds.get(v), asked.get(v, []), rng)
        for v in graph.inputs
    }


def _random(op: Input, shape: tuple[int, ...], bound: int | None, asked: list[int], rng: np.random.Generator) -> Array:
    dtype: DType = op.type.dtype
    if asked:
        return rng.choice(np.array(asked, dtype.numpy), shape)
    if dtype is DType.BOOL:
        return rng.integers(0, 2, shape).astype(np.bool_)
    if dtype.is_float:
        return rng.standard_normal(shape).astype(dtype.numpy)
    if dtype in (DType.I8, DType.U8):
        low = -128 if dtype is DType.I8 else 0
        return rng.integers(low, low + 256, shape).astype(dtype.numpy)
    return rng.integers(1 if op.elements else 0, bound or (4 if op.elements else 2), shape).astype(dtype.numpy)


def index_bounds(graph: Graph) -> dict[Value, int]:
    """For each input that selects elements of something, how many there are to select from."""
    users = users_of(graph)
    found: dict[Value, int] = {}
    for value in graph.inputs:
        limits = list(_limits(value, users, 0))
        if limits:
            found[value] = min(limits)
    return found


def asked_for(graph: Graph) -> dict[Value, list[int]]:
    """For each input of integers that is compared with constants, those: what it stands for is one of them."""
    users = users_of(graph)
    found: dict[Value, list[int]] = {}
    for value in graph.inputs:
        others = [const_array(v) for u in users.get(value, ()) if isinstance(u.op, Equal) for v in u.operands]
        known = sorted({int(a.item()) for a in others if a is not None and a.size == 1 and a.dtype.kind in "iu"})
        if known:
            found[value] = known
    return found


def _limits(value: Value, users: Mapping[Value, list[Node]], depth: int) -> Iterator[int]:
    for user in users.get(value, ()):
        if isinstance(user.op, (Gather, GatherElements)) and user.operands[1] == value:
            limit = user.operands[0].type.shape[user.op.axis]
            if isinstance(limit, int):
                yield limit
        elif isinstance(user.op, (Cast, Reshape, Slice, Transpose)) and depth < MAX_STEPS_TO_INDEX:
            yield from _limits(user.results[0], users, depth + 1)
