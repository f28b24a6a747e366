"""Looking things up in images on numpy: grids and regions of interest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fusee.base.host_linear import Attributes, finished, working
from fusee.base.sampling import sample_grid, sample_roi
from fusee.base.types import Array, DType


def grid_sample(attributes: Attributes, x: Array, grid: Array) -> tuple[Array]:
    """x[N, C, *spatial] at the positions of grid[N, *result, axes]: [N, C, *result]."""
    image = working(x)
    at = np.moveaxis(grid[..., ::-1].astype(image.dtype if image.dtype.kind == "f" else np.float32), -1, 1)
    y = np.zeros((*x.shape[:2], *grid.shape[1:-1]), image.dtype if image.dtype.kind == "f" else np.float32)
    how = attributes["mode"], attributes["padding"], attributes["align_corners"]
    for target, one, where in zip(y, image, at, strict=True):
        target[...] = sample_grid(one, where, *how)
    return (finished(y, DType.of(x.dtype)),)


def roi_align(attributes: Attributes, x: Array, rois: Array, batch: Array) -> tuple[Array]:
    """Each region of interest as a small image of one size."""
    image, size = working(x), (attributes["height"], attributes["width"])
    y = np.zeros((len(rois), x.shape[1], *size), image.dtype)
    shift = image.dtype.type(0.5 if attributes["half_pixel"] else 0)
    for target, roi, index in zip(y, rois.astype(image.dtype), batch, strict=True):
        x1, y1, x2, y2 = (roi * image.dtype.type(attributes["spatial_scale"]) - shift).tolist()
        extent = (y2 - y1, x2 - x1) if attributes["half_pixel"] else (max(y2 - y1, 1.0), max(x2 - x1, 1.0))
        axes = zip((y1, x1), extent, size, strict=True)
        rows, columns = (_points(start, length, count, attributes["sampling_ratio"]) for start, length, count in axes)
        target[...] = sample_roi(image[index], rows, columns, attributes["maximum"])
    return (finished(y, DType.of(x.dtype)),)


def _points(start: float, length: float, count: int, ratio: int) -> Array:
    """Where to look along one axis: [count, points]."""
    step = length / count
    points = ratio or max(int(np.ceil(step)), 0)
    inside = (np.arange(points) + 0.5) * (step / points if points else 0)
    return start + np.arange(count)[:, None] * step + inside


def max_roi_pool(attributes: Attributes, x: Array, rois: Array) -> tuple[Array]:
    """The maxima of a grid of cells over each region of interest."""
    height, width = attributes["height"], attributes["width"]
    y = np.zeros((len(rois), x.shape[1], height, width), x.dtype)
    for target, roi in zip(y, rois.astype(np.float32), strict=True):
        corners = np.floor(np.abs(roi[1:] * np.float32(attributes["spatial_scale"])) + 0.5)
        x1, y1, x2, y2 = corners.astype(int).tolist()
        rows = _cells(y1, y2, height, x.shape[2])
        columns = _cells(x1, x2, width, x.shape[3])
        _pool_cells(x[int(roi[0])], rows, columns, target)
    return (y,)


def _cells(first: int, last: int, count: int, size: int) -> list[tuple[int, int]]:
    step = np.float32(max(last - first + 1, 1)) / np.float32(count)
    starts = [int(np.floor(np.float32(i) * step)) + first for i in range(count)]
    ends = [int(np.ceil(np.float32(i + 1) * step)) + first for i in range(count)]
    return [(min(max(s, 0), size), min(max(e, 0), size)) for s, e in zip(starts, ends, strict=True)]


def _pool_cells(x: Array, rows: list[tuple[int, int]], columns: list[tuple[int, int]], target: Array) -> None:
    for i, (top, bottom) in enumerate(rows):
        for j, (left, right) in enumerate(columns):
            if bottom > top and right > left:
                target[:, i, j] = x[:, top:bottom, left:right].max(axis=(1, 2))


VISION_FUNCTIONS: dict[str, Callable[..., tuple[Array, ...]]] = {
    "grid_sample": grid_sample,
    "roi_align": roi_align,
    "max_roi_pool": max_roi_pool,
}
