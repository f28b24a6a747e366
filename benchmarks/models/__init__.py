"""The networks of the benchmark, written as ONNX graphs with seeded weights; no weights file is needed.

To add one: write its file, and list it in MODELS with its published figures; the tests hold it to them.
"""

from __future__ import annotations

from benchmarks.models.bert import bert_base
from benchmarks.models.convnext import convnext_tiny
from benchmarks.models.efficientnet import efficientnet_b0
from benchmarks.models.mobilenet import mobilenetv3_large
from benchmarks.models.model import BenchmarkModel
from benchmarks.models.resnet import resnet50
from benchmarks.models.retinaface import retinaface_mnet025, retinaface_r50
from benchmarks.models.samples import image, sentence
from benchmarks.models.swin import swin_t
from benchmarks.models.vit import vit_b16
from benchmarks.models.yolo import yolov8s

_ALL = (
    BenchmarkModel("resnet50", resnet50, image("input", 224), 25_557_032, 8.18),
    BenchmarkModel("mobilenetv3_large", mobilenetv3_large, image("input", 224), 5_483_032, 0.44),
    BenchmarkModel("efficientnet_b0", efficientnet_b0, image("input", 224), 5_288_548, 0.78),
    BenchmarkModel("convnext_tiny", convnext_tiny, image("input", 224), 28_589_128, 8.92),
    BenchmarkModel("vit_b16", vit_b16, image("input", 224), 86_567_656, 35.1),
    BenchmarkModel("swin_t", swin_t, image("input", 224), 28_288_354, 8.98),
    BenchmarkModel("yolov8s", yolov8s, image("images", 640), 11_166_560, 28.6),
    BenchmarkModel("retinaface_r50", retinaface_r50, image("input0", 640), 27_293_600, 88.5),
    BenchmarkModel("retinaface_mnet025", retinaface_mnet025, image("input0", 640), 426_608, 1.96),
    BenchmarkModel("bert_base", bert_base, sentence, 109_482_240, 22.4),
)

MODELS: dict[str, BenchmarkModel] = {model.name: model for model in _ALL}
