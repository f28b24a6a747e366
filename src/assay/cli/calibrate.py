"""assay calibrate: thresholds that keep a promise."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from assay.cases import Claim
from assay.cli.options import DEFAULT_HOME, Home
from assay.errors import invalid
from assay.folders import objects_in
from assay.installation import opened
from assay.judging import calibrate, write_calibration
from assay.judging.judgement import Calibration
from assay.judging.scoring import CaseScore
from assay.pipeline.scoring import score_photographs
from assay.services import Services
from assay.settings import Settings, read_settings

GENUINE, ALTERED = "genuine", "altered"


def command(
    cases: Annotated[
        Path, typer.Argument(help="<brand>/<model>/genuine|altered/<case>/<view>.jpg, of enrolled models.")
    ],
    home: Home = DEFAULT_HOME,
    false_accept: Annotated[float, typer.Option(help="Altered items called CONSISTENT, at most.")] = 0.05,
    false_reject: Annotated[float, typer.Option(help="Genuine items called NOT CONSISTENT, at most.")] = 0.02,
    assurance: Annotated[float, typer.Option(help="Probability that both promises hold.")] = 0.95,
) -> None:
    """Set the thresholds from cases that are known to be genuine or altered; what lies between is INCONCLUSIVE."""
    rates = {"false_accept_rate": false_accept, "false_reject_rate": false_reject, "assurance": assurance}
    made = asyncio.run(_calibrate(read_settings(home), cases, rates))
    typer.echo(f"CONSISTENT up to {made.accept_below:.3f}, NOT CONSISTENT from {made.reject_above:.3f}")
    typer.echo(f"from {len(made.genuine_scores)} genuine and {len(made.altered_scores)} altered cases: {made.digest}")


async def _calibrate(settings: Settings, folder: Path, rates: Mapping[str, float]) -> Calibration:
    async with opened(settings) as services:
        genuine = await _scores(services, folder, GENUINE)
        altered = await _scores(services, folder, ALTERED)
        made = calibrate(
            [scored.score for scored in genuine],
            [scored.score for scored in altered],
            [scored.unfamiliarity for scored in (*genuine, *altered)],
            services.lens.identity.model_digest,
            **rates,
        )
    write_calibration(settings.calibration, made)
    return made


async def _scores(services: Services, folder: Path, kind: str) -> list[CaseScore]:
    """Of all cases of one kind, each held against the references of the model that its folder names."""
    scores: list[CaseScore] = []
    for model in sorted(path.parent for path in folder.glob(f"*/*/{kind}")):
        claim = Claim(model.parent.name, model.name)
        snapshot = services.references.latest(claim)
        if snapshot is None:
            raise invalid(f"{model}: {claim.brand} {claim.model} has no references; enrol it with `assay enroll` first")
        for _, views in objects_in(model / kind):
            photos = {view: path.read_bytes() for view, path in views.items()}
            scores.append(await score_photographs(services, snapshot, photos))
    return scores
