"""What a pipeline is written with: ``from fusee.server.pipelines import Call, tensor, softmax``."""

from fusee.base.types import Array
from fusee.images import Channels, ImageSteps, Interpolation, Layout, Resize
from fusee.server.pipelines.images import decode_images
from fusee.server.pipelines.pipeline import Call, Pipeline, tensor
from fusee.server.pipelines.steps import nms, softmax, top_k

__all__ = [
    "Array",
    "Call",
    "Channels",
    "ImageSteps",
    "Interpolation",
    "Layout",
    "Pipeline",
    "Resize",
    "decode_images",
    "nms",
    "softmax",
    "tensor",
    "top_k",
]
