"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[
    Path,
    typer.Option(help="Folder of the installation: settings, engines, database, photographs.", envvar="ASSAY_HOME"),
]
DEFAULT_HOME = Path("assay-home")
Models = Annotated[Path, typer.Option(help="Folder of the trained networks, as ONNX files.", envvar="ASSAY_MODELS")]
DEFAULT_MODELS = Path("models/assay")
