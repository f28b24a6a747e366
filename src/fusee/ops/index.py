"""Ops that move elements by computed positions: gather, scatter, one-hot, top-k."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fusee.base.dims import Dim
from fusee.base.errors import ShapeError
from fusee.base.types import I64, Array, DType, TensorType
from fusee.ir.graph import Op
from fusee.ops.check import need_axis, need_equal, need_rank, need_same_dtype, numbers

INDEX_TYPES = (DType.I64, DType.I32)
REDUCTIONS = ("none", "add", "mul", "max", "min")


def need_indices(indices: TensorType) -> None:
    """Raise ShapeError when a tensor of indices is not of an index type."""
    if indices.dtype not in INDEX_TYPES:
        raise ShapeError(f"the indices are {indices}; they must be i64 or i32")


def _draw_indices(rng: np.random.Generator, indices: TensorType, low: int, high: int) -> Array:
    return rng.integers(low, max(high, low + 1), indices.static_shape()).astype(indices.dtype.numpy)


@dataclass(frozen=True)
class Gather(Op):
    """Pick whole slices of ``x`` along ``axis`` by their indices.

    ``x`` and ``indices`` (i64 or i32, any shape, each in [-n, n-1], a negative one counting from the end) ->
    ``x.shape[:axis] + indices.shape + x.shape[axis+1:]``. An index outside is the model's error: what the result
    holds there is not defined, but no memory outside of ``x`` is read. ONNX Gather, ArrayFeatureExtractor.
    """

    axis: int

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        need_axis(self.axis, x.rank)
        need_indices(indices)
        return x.with_shape(x.shape[: self.axis] + indices.shape + x.shape[self.axis + 1 :])

    def reference(self, x: Array, indices: Array) -> Array:
        return np.asarray(np.take(x, indices, axis=self.axis))

    def flops(self, x: TensorType, indices: TensorType) -> Dim:
        return 0

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        x, _ = super().sample_operands(rng, *types)
        return x, _draw_indices(rng, types[1], -x.shape[self.axis], x.shape[self.axis])


Gather.samples = (
    (Gather(0), ("f32[7,19]", "i64[5]")),
    (Gather(1), ("f32[3,5,17]", "i32[2,3]")),
    (Gather(0), ("i64[4]", "i64[]")),
    (Gather(2), ("u8[2,3,33]", "i64[7]")),
    (Gather(0), ("bf16[9,16]", "i64[1,6]")),
    (Gather(1), ("bool[5,3]", "i64[0]")),
)


@dataclass(frozen=True)
class GatherElements(Op):
    """Pick single elements: result ``[i, j, k]`` is ``x[i, indices[i, j, k], k]`` for axis 1.

    ``x`` and ``indices`` (i64 or i32) have the same rank; the result has the shape of ``indices``, which on the other
    axes is at most that of ``x``. Negative indices count from the end. ONNX GatherElements.
    """

    axis: int

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        need_axis(self.axis, x.rank)
        need_indices(indices)
        need_rank(indices, x.rank, "the tensor of indices")
        return x.with_shape(indices.shape)

    def reference(self, x: Array, indices: Array) -> Array:
        return x[_element_positions(indices, self.axis)]

    def flops(self, x: TensorType, indices: TensorType) -> Dim:
        return 0

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        x, _ = super().sample_operands(rng, *types)
        return x, _draw_indices(rng, types[1], -x.shape[self.axis], x.shape[self.axis])


def _element_positions(indices: Array, axis: int) -> tuple[Array, ...]:
    """Coordinates: each position's own, except along the axis, where it is the index."""
    own = np.ogrid[tuple(slice(n) for n in indices.shape)]
    return tuple(indices if d == axis else own[d] for d in range(indices.ndim))


GatherElements.samples = (
    (GatherElements(1), ("f32[3,7]", "i64[3,5]")),
    (GatherElements(0), ("f32[5,17]", "i32[2,17]")),
    (GatherElements(2), ("i64[2,3,19]", "i64[2,2,4]")),
    (GatherElements(0), ("u8[9]", "i64[33]")),
)


@dataclass(frozen=True)
class GatherNd(Op):
    """Pick slices by coordinates: the last axis of ``indices`` holds positions on the first axes of ``x``.

    The first ``batch_dims`` axes of both agree and are walked together. With ``k = indices.shape[-1]`` (a number) the
    result is ``indices.shape[:-1] + x.shape[batch_dims + k:]``. Negative positions count from the end. ONNX GatherND.
    """

    batch_dims: int = 0

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        need_indices(indices)
        depth = _coordinates(indices, x, self.batch_dims)
        for axis in range(self.batch_dims):
            need_equal(x.shape[axis], indices.shape[axis], f"batch axis {axis} of {x} and {indices}")
        return x.with_shape(indices.shape[:-1] + x.shape[self.batch_dims + depth :])

    def reference(self, x: Array, indices: Array) -> Array:
        return np.asarray(x[_slice_positions(indices, self.batch_dims)])

    def flops(self, x: TensorType, indices: TensorType) -> Dim:
        return 0

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        x, _ = super().sample_operands(rng, *types)
        return x, _draw_coordinates(rng, types[1], x.shape[self.batch_dims :])


def _coordinates(indices: TensorType, x: TensorType, batch_dims: int) -> int:
    """How many axes of ``x`` the last axis of the indices gives positions on."""
    if not 0 <= batch_dims < max(1, min(indices.rank, x.rank)):
        raise ShapeError(f"{batch_dims} batch axes; {x} and indices {indices} must both have more axes")
    depth = indices.shape[-1] if indices.rank else 0
    if not isinstance(depth, int) or indices.rank == 0 or batch_dims + depth > x.rank:
        raise ShapeError(f"the last axis of indices {indices} must be a number, at most {x.rank - batch_dims} for {x}")
    return depth


def _slice_positions(indices: Array, batch_dims: int) -> tuple[Array, ...]:
    batch = np.ogrid[tuple(slice(n) for n in indices.shape[:-1])][:batch_dims] if batch_dims else []
    return (*batch, *np.moveaxis(indices, -1, 0))


def _draw_coordinates(rng: np.random.Generator, indices: TensorType, limits: tuple[int, ...]) -> Array:
    columns = [_draw_indices(rng, indices.with_shape(indices.shape[:-1]), -n, n) for n in limits]
    return np.stack(columns[: indices.static_shape()[-1]], axis=-1)


GatherNd.samples = (
    (GatherNd(), ("f32[3,5]", "i64[4,2]")),
    (GatherNd(), ("f32[3,5,17]", "i32[2,3,1]")),
    (GatherNd(1), ("i64[2,7,3]", "i64[2,1]")),
    (GatherNd(2), ("f16[2,3,5,4]", "i64[2,3,6,1]")),
    (GatherNd(), ("bool[19]", "i64[33,1]")),
)

_SCATTER: dict[str, np.ufunc] = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def _scatter(x: Array, positions: tuple[Array, ...], updates: Array, reduction: str) -> Array:
    narrow = DType.of(x.dtype).is_float and x.dtype.itemsize < 4 and reduction != "none"
    result = x.astype(np.float32) if narrow else x.copy()
    if reduction == "none":
        result[positions] = updates
    else:
        _SCATTER[reduction].at(result, positions, updates.astype(result.dtype))
    return result.astype(x.dtype)


def _need_reduction(reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise ShapeError(f"reduction {reduction!r} is not one of {', '.join(REDUCTIONS)}")


@dataclass(frozen=True)
class ScatterElements(Op):
    """Put single elements into a copy of ``x``: ``result[i, indices[i, j, k], k] = updates[i, j, k]`` for axis 1.

    ``indices`` (i64 or i32) and ``updates`` have one shape, with the rank of ``x``. Negative indices count from the
    end; one outside is the model's error, and nothing is written for it. ``reduction`` none replaces (with equal
    indices the last update in row-major order stays); add, mul, max, min combine with what is there, in row-major
    order. ONNX ScatterElements, Scatter.
    """

    axis: int
    reduction: str = "none"

    def infer(self, x: TensorType, indices: TensorType, updates: TensorType) -> TensorType:
        need_axis(self.axis, x.rank)
        need_indices(indices)
        _need_reduction(self.reduction)
        need_rank(indices, x.rank, "the tensor of indices")
        need_rank(updates, x.rank, "the tensor of updates")
        need_same_dtype((x, updates), "x and the updates")
        for axis, (a, b) in enumerate(zip(indices.shape, updates.shape, strict=True)):
            need_equal(a, b, f"axis {axis} of indices {indices} and updates {updates}")
        return x

    def reference(self, x: Array, indices: Array, updates: Array) -> Array:
        return _scatter(x, _element_positions(indices, self.axis), updates, self.reduction)

    def flops(self, x: TensorType, indices: TensorType, updates: TensorType) -> Dim:
        return updates.size

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        x, indices, updates = super().sample_operands(rng, *types)
        size = x.shape[self.axis]
        if self.reduction != "none":
            return x, _draw_indices(rng, types[1], -size, size), updates
        order = rng.permuted(np.broadcast_to(np.arange(size), (*_moved(indices, self.axis).shape[:-1], size)), axis=-1)
        unequal = order[..., : indices.shape[self.axis]].astype(indices.dtype)
        return x, np.moveaxis(unequal, -1, self.axis), updates


def _moved(x: Array, axis: int) -> Array:
    return np.moveaxis(x, axis, -1)


ScatterElements.samples = (
    (ScatterElements(1), ("f32[3,7]", "i64[3,5]", "f32[3,5]")),
    (ScatterElements(0), ("i64[5,17]", "i32[2,9]", "i64[2,9]")),
    (ScatterElements(0, "add"), ("f32[5,3]", "i64[7,3]", "f32[7,3]")),
    (ScatterElements(1, "mul"), ("f64[2,5]", "i64[2,3]", "f64[2,3]")),
    (ScatterElements(0, "max"), ("f16[5]", "i64[9]", "f16[9]")),
    (ScatterElements(2, "min"), ("i32[1,2,7]", "i64[1,2,3]", "i32[1,2,3]")),
    (ScatterElements(0), ("bool[6]", "i64[4]", "bool[4]")),
)


@dataclass(frozen=True)
class ScatterNd(Op):
    """Put slices into a copy of ``x`` by coordinates on its first axes: ``result[indices[i]] = updates[i]``.

    ``indices`` (i64 or i32) [..., k] with ``k`` a number; ``updates`` is ``indices.shape[:-1] + x.shape[k:]``.
    Negative and wrong positions and ``reduction`` as in ScatterElements. ONNX ScatterND.
    """

    reduction: str = "none"

    def infer(self, x: TensorType, indices: TensorType, updates: TensorType) -> TensorType:
        need_indices(indices)
        _need_reduction(self.reduction)
        need_same_dtype((x, updates), "x and the updates")
        expected = x.with_shape(indices.shape[:-1] + x.shape[_coordinates(indices, x, 0) :])
        need_rank(updates, expected.rank, "the tensor of updates")
        for axis, (a, b) in enumerate(zip(updates.shape, expected.shape, strict=True)):
            need_equal(a, b, f"axis {axis} of updates {updates}, expected {expected}")
        return x

    def reference(self, x: Array, indices: Array, updates: Array) -> Array:
        return _scatter(x, _slice_positions(indices, 0), updates, self.reduction)

    def flops(self, x: TensorType, indices: TensorType, updates: TensorType) -> Dim:
        return updates.size

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        x, indices, updates = super().sample_operands(rng, *types)
        if self.reduction != "none":
            return x, _draw_coordinates(rng, types[1], x.shape), updates
        limits = x.shape[: indices.shape[-1]]
        flat = rng.permutation(int(np.prod(limits)))[: int(np.prod(indices.shape[:-1]))]
        unequal = np.stack(np.unravel_index(flat, limits), axis=-1)
        return x, unequal.reshape(indices.shape).astype(indices.dtype), updates


ScatterNd.samples = (
    (ScatterNd(), ("f32[5,17]", "i64[3,1]", "f32[3,17]")),
    (ScatterNd(), ("i64[3,4,2]", "i32[2,2,2]", "i64[2,2,2]")),
    (ScatterNd("add"), ("f32[5,3]", "i64[7,2]", "f32[7]")),
    (ScatterNd("mul"), ("f64[4]", "i64[5,1]", "f64[5]")),
    (ScatterNd("max"), ("bf16[4,3]", "i64[3,1]", "bf16[3,3]")),
    (ScatterNd("min"), ("i32[4,3]", "i64[3,1]", "i32[3,3]")),
)


@dataclass(frozen=True)
class TensorScatter(Op):
    """Write ``update`` into a copy of a cache along ``axis``, each batch entry from its own position on.

    ``cache`` [B, ..., T, ...], ``update`` the same with ``S <= T`` on ``axis`` (1 or more), ``positions`` i64 [B]:
    element ``s`` goes to ``positions[b] + s``; circular: modulo T. ONNX TensorScatter.
    """

    axis: int
    circular: bool = False

    def infer(self, cache: TensorType, update: TensorType, positions: TensorType) -> TensorType:
        need_axis(self.axis, cache.rank)
        need_indices(positions)
        need_rank(update, cache.rank, "the update")
        need_rank(positions, 1, "the tensor of positions")
        need_same_dtype((cache, update), "cache and update")
        need_equal(positions.shape[0], cache.shape[0], "the number of positions and the batch")
        for axis, (a, b) in enumerate(zip(cache.shape, update.shape, strict=True)):
            if axis != self.axis:
                need_equal(a, b, f"axis {axis} of cache {cache} and update {update}")
        if self.axis == 0:
            raise ShapeError("axis 0 is the batch; the cache must be written along another one")
        return cache

    def reference(self, cache: Array, update: Array, positions: Array) -> Array:
        result = np.moveaxis(cache.copy(), self.axis, 1)
        target = positions[:, None] + np.arange(update.shape[self.axis])
        target = target % cache.shape[self.axis] if self.circular else target
        result[np.arange(len(positions))[:, None], target] = np.moveaxis(update, self.axis, 1)
        return np.moveaxis(result, 1, self.axis)

    def flops(self, cache: TensorType, update: TensorType, positions: TensorType) -> Dim:
        return 0

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        cache, update, _ = super().sample_operands(rng, *types)
        room = cache.shape[self.axis] - (0 if self.circular else update.shape[self.axis])
        return cache, update, _draw_indices(rng, types[2], 0, room + 1)


TensorScatter.samples = (
    (TensorScatter(2), ("f32[2,3,7,5]", "f32[2,3,2,5]", "i64[2]")),
    (TensorScatter(1, circular=True), ("f16[3,4,17]", "f16[3,3,17]", "i64[3]")),
    (TensorScatter(1), ("i64[1,5]", "i64[1,5]", "i32[1]")),
)


@dataclass(frozen=True)
class OneHot(Op):
    """Replace every index by a row of ``depth`` elements along a new ``axis``: ``on`` at the index, else ``off``.

    ``indices`` (i64 or i32) in [-depth, depth-1], negative ones counting from the end; one outside gives all off.
    ``off_on`` [2] holds the two values, off first. ONNX OneHot.
    """

    axis: int
    depth: Dim

    def infer(self, indices: TensorType, off_on: TensorType) -> TensorType:
        need_indices(indices)
        need_axis(self.axis, indices.rank + 1)
        need_rank(off_on, 1, "the tensor of off and on")
        need_equal(off_on.shape[0], 2, "the number of values, off and on,")
        return TensorType(off_on.dtype, (*indices.shape[: self.axis], self.depth, *indices.shape[self.axis :]))

    def reference(self, indices: Array, off_on: Array) -> Array:
        (depth,) = numbers((self.depth,))
        wrapped = np.where(indices < 0, indices + depth, indices)
        hot = np.expand_dims(wrapped, self.axis) == np.arange(depth).reshape(-1, *[1] * (indices.ndim - self.axis))
        return np.where(hot, off_on[1], off_on[0])

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        _, off_on = super().sample_operands(rng, *types)
        (depth,) = numbers((self.depth,))
        return _draw_indices(rng, types[0], -depth - 2, depth + 2), off_on


OneHot.samples = (
    (OneHot(1, 7), ("i64[5]", "f32[2]")),
    (OneHot(0, 19), ("i32[3,2]", "f16[2]")),
    (OneHot(1, 3), ("i64[2,5]", "i64[2]")),
    (OneHot(0, 5), ("i64[]", "bool[2]")),
)


@dataclass(frozen=True)
class TopK(Op):
    """The ``k`` largest (or smallest) elements along ``axis``, with their positions (i64).

    Of equal elements the one with the lower position comes first. With ``sorted`` the best is first; without, the
    order is free. Gives values and positions, both with ``k`` on the axis. ONNX TopK.
    """

    k: Dim
    axis: int
    largest: bool = True
    sorted: bool = True

    def infer(self, x: TensorType) -> tuple[TensorType, TensorType]:
        need_axis(self.axis, x.rank)
        beyond = self.k - x.shape[self.axis]
        if isinstance(beyond, int) and beyond > 0:
            raise ShapeError(f"k is {self.k}, but axis {self.axis} of {x} has only {x.shape[self.axis]} elements")
        values = x.with_shape((*x.shape[: self.axis], self.k, *x.shape[self.axis + 1 :]))
        return values, values.with_dtype(I64)

    def reference(self, x: Array) -> tuple[Array, Array]:
        (k,) = numbers((self.k,))
        last = np.moveaxis(x, self.axis, -1)
        if self.largest:  # ascending and stable from the far end is descending with ties in their order
            positions = last.shape[-1] - 1 - np.argsort(last[..., ::-1], axis=-1, kind="stable")[..., ::-1]
        else:
            positions = np.argsort(last, axis=-1, kind="stable")
        positions = np.moveaxis(positions[..., :k], -1, self.axis).astype(np.int64)
        return np.take_along_axis(x, positions, axis=self.axis), positions

    def flops(self, x: TensorType) -> Dim:
        return x.size * 4


TopK.samples = (
    (TopK(3, 1), ("f32[5,17]",)),
    (TopK(1, 0), ("f32[7,3]",)),
    (TopK(4, 1, largest=False), ("i64[2,9]",)),
    (TopK(19, 2), ("f16[1,3,19]",)),
    (TopK(2, 0, largest=False), ("u8[33]",)),
    (TopK(0, 0), ("f32[4]",)),
)


INDEX_OPS: tuple[type[Op], ...] = (
    Gather,
    GatherElements,
    GatherNd,
    ScatterElements,
    ScatterNd,
    TensorScatter,
    OneHot,
    TopK,
)
