"""One network of the benchmark: how to write it, what to feed it, and its published figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx

from benchmarks.models.samples import DrawInputs
from benchmarks.models.writer import Size


@dataclass(frozen=True)
class BenchmarkModel:
    """A network written by us with seeded weights."""

    name: str
    build: Callable[[Size], onnx.ModelProto]
    """The graph for a batch size; a name in place of the size leaves the dimension open."""
    inputs: DrawInputs
    """Arrays of one request for a seed and a batch size."""
    parameters: int
    """Published count of trained numbers."""
    gflops: float
    """Arithmetic for one input in 1e9 operations, two to a multiply-add; published, counted for RetinaFace."""
