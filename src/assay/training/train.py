"""``assay train`` as a function: genuine photographs in, networks to pack out. Imports torch when it is called."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from importlib.util import find_spec
from pathlib import Path

import onnx

from assay.networks.graph import Array
from assay.networks.photo import stored_weights
from assay.training.folder import TrainingError, read_folder


class Backbone(Enum):
    """What kind of photo network is trained."""

    CONV = "conv"  # convolutions, going on from trained weights
    VIT = "vit"  # a small vision transformer, from nothing; its view map tells what each token contributes


def train(
    photos: Path,
    out: Path,
    start: Path | None = None,
    backbone: Backbone = Backbone.CONV,
    minutes: float = 10.0,
    device: str | None = None,
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> None:
    """Trains for so many minutes on ``photos/<brand>/<model>/<item>/<view>.jpg``, all of them of genuine items.

    ``start`` is the photo network that CONV goes on from, as models/assay/photo.onnx. ``out`` gets ``photo.onnx``,
    ``compare.onnx`` (pack them, and enrol all references anew) and ``training.json``. ``device``: "cpu" or "cuda";
    the GPU, where there is one, when None. Raises TrainingError.
    """
    _require_torch()
    weights = _start_weights(start) if backbone is Backbone.CONV else None
    folder = read_folder(photos)
    from assay.training.finetuning import fine_tune

    fine_tune(folder, out, weights, minutes, device, seed, log)


def _require_torch() -> None:
    if find_spec("torch") is None:
        raise TrainingError(
            "training needs PyTorch, which is not installed; install it with `pip install torch` "
            "(for the CPU alone: `pip install torch --index-url https://download.pytorch.org/whl/cpu`)"
        )


def _start_weights(start: Path | None) -> dict[str, Array]:
    if start is None or not start.is_file():
        raise TrainingError(
            f"start is {start}; expected the trained photo network to go on from: models/assay/photo.onnx"
        )
    try:
        return stored_weights(onnx.load(start))
    except ValueError as err:
        raise TrainingError(f"{start}: {err}") from err
