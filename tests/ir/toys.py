"""Ops for testing the graph machinery alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fusee.base.dims import Dim, sym
from fusee.base.types import F32, I64, Array, DType, TensorType
from fusee.ir.graph import Graph, Op


@dataclass(frozen=True)
class Twice(Op):
    def infer(self, x: TensorType) -> TensorType:
        return x

    def reference(self, x: Array) -> Array:
        return x + x


@dataclass(frozen=True)
class Plus(Op):
    def infer(self, x: TensorType, y: TensorType) -> TensorType:
        return x

    def reference(self, x: Array, y: Array) -> Array:
        return x + y


@dataclass(frozen=True)
class Best(Op):
    """Two results, and attributes of every kind."""

    k: Dim = 1
    axis: int = 0
    ratio: float = 1.0
    parts: tuple[object, ...] = ()
    to: DType = F32
    mode: str = ""
    last: bool = False
    limit: int | None = None
    body: Graph | None = None

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        return x, x.with_dtype(I64)

    def reference(self, x: Array) -> tuple[Array, ...]:
        return x, x.astype(np.int64)


@dataclass(frozen=True)
class Count(Op):
    """Its result's size depends on data."""

    name: str

    def infer(self, x: TensorType) -> TensorType:
        return x.with_shape((sym(self.name),))

    def defined_symbols(self) -> frozenset[str]:
        return frozenset({self.name})


TOYS: tuple[type[Op], ...] = (Twice, Plus, Best, Count)
