"""assay draw: synthetic photographs, to try everything with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.calibrate import ALTERED, GENUINE
from assay.synthetic import Shot, draw_case, draw_style, encode
from assay.views import View

REFERENCES = "references"


def command(
    out: Annotated[
        Path, typer.Argument(help="<brand>/<model>/references|genuine|altered/<item>/<view>.jpg are written.")
    ],
    style: Annotated[list[int], typer.Option(help="Seed of an invented model; repeatable.")] = [20_000],  # noqa: B006
    references: Annotated[int, typer.Option(min=0, help="Genuine items to enrol, of each model.")] = 16,
    genuine: Annotated[int, typer.Option(min=0, help="Genuine cases, of each model.")] = 2,
    altered: Annotated[int, typer.Option(min=0, help="Altered cases, of each model.")] = 2,
) -> None:
    """Draw photographs of invented leather goods: all of them synthetic, no brand's, none of them a real item's."""
    counts = {REFERENCES: references, GENUINE: genuine, ALTERED: altered}
    for seed in style:
        look = draw_style(seed)
        item_seed = 1000 * seed
        for kind, count in counts.items():
            for number in range(count):
                item_seed += 1
                case = draw_case(look, item_seed, None if kind == ALTERED else ())
                write_case(out / look.brand / look.model / kind / f"{number:04}", case)
        typer.echo(f"{look.brand} {look.model}: {', '.join(f'{n} {kind}' for kind, n in counts.items())}")


def write_case(folder: Path, case: dict[View, Shot]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for view, shot in case.items():
        (folder / f"{view.value}.jpg").write_bytes(encode(shot))
