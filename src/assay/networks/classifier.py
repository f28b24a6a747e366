"""The supervised classifier that evaluation compares with: genuine or altered, judged from the photo alone."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import TensorProto

from assay.networks.graph import BATCH, GraphWriter, Stored
from assay.networks.photo import GRID, PATCHES, grid_features

CLASSIFIER_OUTPUTS = {
    "score": (TensorProto.FLOAT, (BATCH,)),
    "heat": (TensorProto.FLOAT, (BATCH, GRID, GRID)),
}


def classifier_network(weights: Mapping[str, Stored]) -> onnx.ModelProto:
    """Input ``photo`` as the photo network's; the backbone's weights, ``altered.weight`` [1, 128, 1, 1] and its bias.

    Outputs: ``score`` f32[N], the logit of alteration; ``heat`` f32[N, 40, 40], what each place adds to it (CAM).
    """
    g = GraphWriter("assay_classifier", weights)
    weighed = g.node("Conv", (grid_features(g), g.weight("altered.weight")), "altered.weighed", kernel_shape=[1, 1])
    parts = g.node("Mul", (weighed, g.constant("share", 1 / PATCHES)), "altered.parts")
    g.reshape(parts, "heat", (-1, GRID, GRID))
    total = g.node("ReduceSum", (parts, g.axes(1, 2, 3)), "altered.total", keepdims=0)
    g.node("Add", (total, g.weight("altered.bias")), "score")
    return g.finish(CLASSIFIER_OUTPUTS)
