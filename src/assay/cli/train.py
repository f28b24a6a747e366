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
    epochs: Annotated[int, typer.Option(min=1)] = 10,
) -> None:
    """Fine-tune the networks on a folder of photographs. Needs PyTorch: pip install torch."""
    from assay.training import train  # PyTorch is there where people train, nowhere else

    train(photos, out, models=models, epochs=epochs, progress=typer.echo)
