"""Whole engines of random graphs against the reference, on one, two and three threads, at several batches."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest

from fusee.base.types import Array
from fusee.ir.graph import Graph, input_op
from fusee.kernels.cpu.compile import Compiler
from planner.made import assert_right, normal, optimised
from planner.random_graphs import random_graph
from planner.soundness import arena_merges


def feeds(graph: Graph, batch: int, seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {input_op(v).name: normal(rng, *v.type.bind(dict.fromkeys(v.type.symbols(), batch))) for v in graph.inputs}


def batches(graph: Graph, seed: int) -> list[dict[str, Array]]:
    return [feeds(graph, n, seed + i) for i, n in enumerate((2, 1, 3, 2) if graph.free_symbols() else (2, 2))]


@pytest.mark.parametrize("seed", range(16))
def test_a_random_graph_as_it_is(seed: int, compiler: Compiler) -> None:
    graph = random_graph(seed)
    assert_right(graph, batches(graph, seed), compiler, threads=(1, 2, 3))


@pytest.mark.parametrize("seed", range(100, 116))
def test_a_random_graph_after_the_passes(seed: int, compiler: Compiler) -> None:
    graph = optimised(random_graph(seed), compiler)
    assert_right(graph, batches(graph, seed), compiler, threads=(1, 2, 3))


def test_random_graphs_do_share_memory(compiler: Compiler) -> None:
    """Else the tests above would show little."""
    planned = [assert_right(g, [], compiler) for g in map(random_graph, range(3))]
    assert reduce(lambda n, p: n + arena_merges(p.drawings[0]), planned, 0) > 0
