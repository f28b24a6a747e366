"""The photo network: patch features, embedding, view, and what of the photo spoke for that view.

A small U of residual convolutions. Strides 2 to 8 see edges, threads and letters; strides 16 and 32 see the whole photo
and tell the fine grid how large and how turned everything is. BatchNormalization is folded into the convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from assay.networks.graph import BATCH, Array, GraphWriter, Stored

PHOTO_PX = 320
GRID = 40
PATCHES = GRID * GRID
PATCH_CHANNELS = 64
EMBEDDING_CHANNELS = 128
VIEW_COUNT = 6
MEAN, STD = 127.5, 64.0  # of a pixel, 0 to 255

PHOTO_OUTPUTS = {
    "patches": (TensorProto.FLOAT, (BATCH, PATCHES, PATCH_CHANNELS)),
    "embedding": (TensorProto.FLOAT, (BATCH, EMBEDDING_CHANNELS)),
    "view": (TensorProto.FLOAT, (BATCH, VIEW_COUNT)),
    "view_map": (TensorProto.FLOAT, (BATCH, GRID, GRID)),
}


class Convolution(NamedTuple):
    """Sizes of one convolution: its kernel is square and its padding keeps the size at stride 1."""

    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1


FINE, MIDDLE, WIDE = 32, 64, 128
CONVOLUTIONS = {
    "stem": Convolution(3, FINE, 5, 2),
    "down4": Convolution(FINE, MIDDLE, 3, 2),
    "block4.first": Convolution(MIDDLE, MIDDLE),
    "block4.second": Convolution(MIDDLE, MIDDLE),
    "block4b.first": Convolution(MIDDLE, MIDDLE),
    "block4b.second": Convolution(MIDDLE, MIDDLE),
    "down8": Convolution(MIDDLE, WIDE, 3, 2),
    "block8.first": Convolution(WIDE, WIDE),
    "block8.second": Convolution(WIDE, WIDE),
    "down16": Convolution(WIDE, WIDE, 3, 2),
    "block16.first": Convolution(WIDE, WIDE),
    "block16.second": Convolution(WIDE, WIDE),
    "down32": Convolution(WIDE, WIDE, 3, 2),
    "block32.first": Convolution(WIDE, WIDE),
    "block32.second": Convolution(WIDE, WIDE),
    "up16": Convolution(WIDE, WIDE, 1),
    "up8": Convolution(WIDE, WIDE, 1),
    "fuse": Convolution(WIDE, WIDE),
    "patch": Convolution(WIDE, PATCH_CHANNELS, 1),
    "view": Convolution(WIDE, VIEW_COUNT, 1),
}
"""Every convolution of the photo network, in the order of computing; the training builds the same."""


def weight_shapes() -> dict[str, tuple[int, ...]]:
    """Shape of every weight of the photo network, by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, layer in CONVOLUTIONS.items():
        shapes[f"{name}.weight"] = (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
        shapes[f"{name}.bias"] = (layer.outputs,)
    shapes["embedding.weight"] = (WIDE, EMBEDDING_CHANNELS)
    shapes["embedding.bias"] = (EMBEDDING_CHANNELS,)
    return shapes


def random_weights(seed: int) -> dict[str, Array]:
    """Untrained weights that keep the size of activations, and biases of 0."""
    random = np.random.default_rng(seed)
    weights: dict[str, Array] = {}
    for name, shape in weight_shapes().items():
        fan_in = shape[0] if name == "embedding.weight" else int(np.prod(shape[1:]))
        scale = 0.0 if name.endswith(".bias") else np.sqrt(2 / fan_in)
        weights[name] = (scale * random.standard_normal(shape)).astype(np.float32)
    return weights


def stored_weights(model: onnx.ModelProto) -> dict[str, Array]:
    """The weights of a photo network as 32-bit numbers. Raises ValueError when it is another network."""
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    shapes = weight_shapes()
    wrong = [name for name, shape in shapes.items() if name not in found or found[name].shape != shape]
    if wrong:
        raise ValueError(f"{model.graph.name}: {wrong[0]} is missing or of another shape; expected a photo network")
    return {name: found[name].astype(np.float32) for name in shapes}


def photo_network(weights: Mapping[str, Stored]) -> onnx.ModelProto:
    """The network with these weights, by the names of ``weight_shapes``, in 32 or 16 bits.

    Input ``photo`` u8[N, 320, 320, 3], RGB. Outputs: ``patches`` f32[N, 1600, 64], unit vectors of the 40 x 40 grid row
    by row; ``embedding`` f32[N, 128], a unit vector; ``view`` f32[N, 6], probabilities in the order of ``VIEWS``;
    ``view_map`` f32[N, 40, 40]: what each place adds to the logit of the likeliest view (with the bias, exactly).
    """
    g = GraphWriter("assay_photo", weights)
    features = grid_features(g)
    patches_output(g, features)
    pooled = g.node("GlobalAveragePool", (features,), "pooled")
    embedding_output(g, g.reshape(pooled, "pooled.flat", (0, WIDE)))
    _view(g, features)
    return g.finish(PHOTO_OUTPUTS)


def grid_features(g: GraphWriter) -> str:
    """Declares the input and gives the features of the 40 x 40 grid, [N, 128, 40, 40]."""
    x4 = _down(g, _down(g, pixels_input(g), "stem"), "down4")
    x4 = _residual(g, _residual(g, x4, "block4"), "block4b")
    x8 = _residual(g, _down(g, x4, "down8"), "block8")
    x16 = _residual(g, _down(g, x8, "down16"), "block16")
    x32 = _residual(g, _down(g, x16, "down32"), "block32")
    x8 = g.join(x8, g.join(x16, x32, "up16"), "up8")
    return g.convolve(x8, "fuse", relu=True)


def pixels_input(g: GraphWriter) -> str:
    """Declares the input and gives it normalised, [N, 3, 320, 320]."""
    photo = g.input("photo", TensorProto.UINT8, (BATCH, PHOTO_PX, PHOTO_PX, 3))
    wide = g.node("Cast", (photo,), "pixels", to=TensorProto.FLOAT)
    centred = g.node("Sub", (wide, g.constant("mean", MEAN)), "centred")
    scaled = g.node("Mul", (centred, g.constant("inverse_std", 1 / STD)), "normalised")
    return g.node("Transpose", (scaled,), "channels_first", perm=[0, 3, 1, 2])


def _down(g: GraphWriter, x: str, layer: str) -> str:
    return g.convolve(x, layer, CONVOLUTIONS[layer].stride, relu=True)


def _residual(g: GraphWriter, x: str, block: str) -> str:
    y = g.convolve(g.convolve(x, f"{block}.first", relu=True), f"{block}.second")
    return g.node("Relu", (g.node("Add", (x, y), f"{block}.sum"),), block)


def patches_output(g: GraphWriter, features: str) -> None:
    """Gives ``patches`` from the features of the grid."""
    by_rows = g.node("Transpose", (g.convolve(features, "patch"),), "patch.by_rows", perm=[0, 2, 3, 1])
    rows = g.reshape(by_rows, "patches.raw", (0, PATCHES, PATCH_CHANNELS))
    g.normalise(rows, "patches")


def embedding_output(g: GraphWriter, pooled: str) -> None:
    """Gives ``embedding`` from features of the whole photo, [N, 128]."""
    operands = (pooled, g.weight("embedding.weight"), g.weight("embedding.bias"))
    g.normalise(g.node("Gemm", operands, "embedding.raw"), "embedding")


def _view(g: GraphWriter, features: str) -> None:
    """View probabilities, and each place's part of the likeliest view's logit, which is their sum and a bias."""
    weighed = g.node("Conv", (features, g.weight("view.weight")), "view.weighed", kernel_shape=[1, 1])
    parts = g.node("Mul", (weighed, g.constant("share", 1 / PATCHES)), "view.parts")
    total = g.node("ReduceSum", (parts, g.axes(2, 3)), "view.total", keepdims=0)
    logit = g.node("Add", (total, g.weight("view.bias")), "view.logit")
    g.node("Softmax", (logit,), "view", axis=1)
    likeliest = g.node("ArgMax", (logit,), "view.likeliest", axis=1, keepdims=1)
    g.node("GatherND", (parts, likeliest), "view_map", batch_dims=1)
