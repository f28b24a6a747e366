"""assay enroll: a brand's model from genuine photographs alone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from assay.cases import Claim
from assay.cli.options import DEFAULT_HOME, Home
from assay.folders import objects_in
from assay.installation import opened, utc_now
from assay.references import EnrolmentPhoto, enrol
from assay.settings import Settings, read_settings


def command(
    brand: Annotated[str, typer.Argument()],
    model: Annotated[str, typer.Argument()],
    photos: Annotated[
        Path, typer.Argument(help="One folder a genuine item, with <view>.jpg of the six views in each.")
    ],
    home: Home = DEFAULT_HOME,
) -> None:
    """Add a model, or a new version of one, from photographs of genuine items. Nothing is trained."""
    asyncio.run(_enroll(read_settings(home), Claim(brand, model), photos))


async def _enroll(settings: Settings, claim: Claim, folder: Path) -> None:
    photos = [
        EnrolmentPhoto(item, view, path.read_bytes())
        for item, views in objects_in(folder)
        for view, path in views.items()
    ]
    async with opened(settings) as services:
        made = await enrol(claim, photos, services.lens, services.comparer, services.references, utc_now)
    items = len({photo.item for photo in photos})
    typer.echo(f"{claim.brand} {claim.model}: version {made.version}, {items} items, {len(photos)} photographs")
    typer.echo(f"references {made.digest}")
