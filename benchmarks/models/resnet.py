"""ResNet-50 (He et al., 2015, the variant with the stride in the 3x3 convolution)."""

from __future__ import annotations

import onnx

from benchmarks.models.layers import conv_bn, flatten, gemm, global_average, max_pool, relu
from benchmarks.models.writer import GraphWriter, Size, Tensor

STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""Width, blocks and stride of each stage."""
EXPANSION = 4
BRANCH_GAIN = 0.5
"""Gain of the last normalisation of a block: trained networks add small corrections, not equals."""


def resnet50(batch: Size = 1) -> onnx.ModelProto:
    """Image [N,3,224,224] -> logits [N,1000]."""
    w = GraphWriter("resnet50", batch, seed=50)
    x = w.pictures("input", 224)
    x = flatten(w, global_average(w, resnet50_stages(w, x)[-1]))
    with w.scope("fc"):
        logits = gemm(w, x, 1000)
    return w.finish([("logits", logits)])


def resnet50_stages(w: GraphWriter, x: Tensor) -> tuple[Tensor, ...]:
    """What each of the four stages gives: strides 4, 8, 16, 32 and 256 to 2048 channels."""
    x = relu(w, conv_bn(w, x, 64, 7, 2, names=("conv1", "bn1")))
    x = max_pool(w, x, 3, 2, 1)
    results: list[Tensor] = []
    for number, (width, blocks, stride) in enumerate(STAGES, 1):
        for block in range(blocks):
            with w.scope(f"layer{number}", str(block)):
                x = _bottleneck(w, x, width, 1 if block else stride)
        results.append(x)
    return tuple(results)


def _bottleneck(w: GraphWriter, x: Tensor, width: int, stride: int) -> Tensor:
    y = relu(w, conv_bn(w, x, width, names=("conv1", "bn1")))
    y = relu(w, conv_bn(w, y, width, 3, stride, names=("conv2", "bn2")))
    y = conv_bn(w, y, width * EXPANSION, names=("conv3", "bn3"), gain=BRANCH_GAIN)
    if x.sized(1) != width * EXPANSION or stride != 1:
        with w.scope("downsample"):
            x = conv_bn(w, x, width * EXPANSION, 1, stride, names=("0", "1"))
    return relu(w, w.add(y, x))
