"""assay train: fine-tune the photo network on one's own photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.options import DEFAULT_MODELS, Models


def command(
    photos: Annotated[Path, typer.Argument(help="<brand>/<model>/<item>/<view>.jpg, of genuine items alone.")],
    out: Annotated[Path, typer.Option(help="Folder that the trained networks are written to.")],
    models: Models = DEFAULT_MODELS,
    minutes: Annotated[float, typer.Option(min=0.0, help="How long to train.")] = 10.0,
    vit: Annotated[
        bool, typer.Option(help="Train a vision transformer, from nothing, in the network's place.")
    ] = False,
) -> None:
    """Fine-tune the networks on a folder of photographs. Needs PyTorch: pip install torch."""
    from assay.training.train import Backbone, train  # onnx and PyTorch are there where people train, nowhere else

    backbone = Backbone.VIT if vit else Backbone.CONV
    train(photos, out, models / "photo.onnx", backbone, minutes, log=typer.echo)
