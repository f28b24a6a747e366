"""assay rerun: does a case give the same result again?"""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from assay.cli.options import DEFAULT_HOME, Home
from assay.installation import opened
from assay.pipeline.rerun import rerun
from assay.settings import Settings, read_settings


def command(case_id: Annotated[str, typer.Argument()], home: Home = DEFAULT_HOME) -> None:
    """Judge a reported case again, with the references that its report names, and compare the results byte by byte."""
    asyncio.run(_rerun(read_settings(home), case_id))


async def _rerun(settings: Settings, case_id: str) -> None:
    async with opened(settings) as services:
        differences = await rerun(services, case_id)
    if not differences:
        typer.echo("the same result, byte for byte")
        return
    for difference in differences:
        typer.echo(f"differs: {difference}")
    raise typer.Exit(1)
