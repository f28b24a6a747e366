"""The compare network: each patch of a photo against a bank of genuine ones, as a heat map, a score and the matches.

After PatchCore (Roth et al., CVPR 2022): the distance of a patch is that to the nearest patch of genuine photos.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from assay.networks.graph import BATCH, Array, GraphWriter
from assay.networks.photo import GRID, PATCH_CHANNELS, PATCHES, PHOTO_PX

BANK = "M"  # the open number of rows of the bank
SMOOTHING_PATCHES = 1.0  # standard deviation of the Gaussian, in patches of the grid
SMOOTHING_RADIUS = 2
SHARPNESS = 30.0  # of the smooth maximum: e-folds of weight per unit of distance

COMPARE_OUTPUTS = {
    "distance_map": (TensorProto.FLOAT, (BATCH, PHOTO_PX, PHOTO_PX)),
    "score": (TensorProto.FLOAT, (BATCH,)),
    "nearest": (TensorProto.INT64, (BATCH, PATCHES)),
}


def smoothing_kernel() -> Array:
    """The Gaussian as weights of a convolution, [1, 1, 5, 5], of sum 1."""
    steps = np.arange(-SMOOTHING_RADIUS, SMOOTHING_RADIUS + 1)
    line = np.exp(-0.5 * (steps / SMOOTHING_PATCHES) ** 2)
    kernel = np.outer(line, line)
    return (kernel / kernel.sum()).astype(np.float32)[np.newaxis, np.newaxis]


def compare_network() -> onnx.ModelProto:
    """The network; it has no trained weights.

    Inputs: ``patches`` f32[N, 1600, 64] and ``bank`` f32[M, 64], unit vectors. Outputs: ``distance_map``
    f32[N, 320, 320], 1 - the cosine to the nearest row of the bank, smoothed, 0 to 2; ``score`` f32[N], the smooth
    maximum of the map (its mean, weighed by e to the SHARPNESS times the distance); ``nearest`` i64[N, 1600], the row.
    """
    g = GraphWriter("assay_compare", {})
    smooth = _smoothed(g, _distances(g))
    _score(g, smooth)
    _map(g, smooth)
    return g.finish(COMPARE_OUTPUTS)


def _distances(g: GraphWriter) -> str:
    """1 - cosine to the nearest row, [N, 1, 40, 40]; says which row it was."""
    patches = g.input("patches", TensorProto.FLOAT, (BATCH, PATCHES, PATCH_CHANNELS))
    bank = g.input("bank", TensorProto.FLOAT, (BANK, PATCH_CHANNELS))
    rows = g.reshape(patches, "rows", (-1, PATCH_CHANNELS))
    cosines = g.node("MatMul", (rows, g.node("Transpose", (bank,), "columns", perm=[1, 0])), "cosines")
    matches = g.node("ArgMax", (cosines,), "matches", axis=1, keepdims=0)
    g.reshape(matches, "nearest", (-1, PATCHES))
    best = g.node("ReduceMax", (cosines,), "best", axes=[1], keepdims=0)
    distances = g.node("Sub", (g.constant("one", 1.0), best), "distances")
    return g.reshape(distances, "distance_grid", (-1, 1, GRID, GRID))


def _smoothed(g: GraphWriter, grid: str) -> str:
    """The grid after the Gaussian; beyond its border it goes on as at the border."""
    pads = g.constant("border", [0, 0, *[SMOOTHING_RADIUS] * 2] * 2, np.int64)
    wide = g.node("Pad", (grid, pads), "bordered", mode="edge")
    return g.node("Conv", (wide, g.constant("gaussian", smoothing_kernel())), "smooth")


def _score(g: GraphWriter, smooth: str) -> None:
    flat = g.reshape(smooth, "smooth.flat", (-1, PATCHES))
    sharp = g.node("Mul", (flat, g.constant("sharpness", SHARPNESS)), "sharp")
    weights = g.node("Softmax", (sharp,), "score.weights", axis=1)
    parts = g.node("Mul", (flat, weights), "score.parts")
    g.node("ReduceSum", (parts, g.axes(1)), "score", keepdims=0)


def _map(g: GraphWriter, smooth: str) -> None:
    scale = PHOTO_PX / GRID
    scales = g.constant("map.scales", [1, 1, scale, scale])
    modes = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    large = g.node("Resize", (smooth, "", scales), "map.large", **modes)
    g.reshape(large, "distance_map", (-1, PHOTO_PX, PHOTO_PX))
