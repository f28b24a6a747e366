"""Webs, workers, inference server, RabbitMQ and PostgreSQL, killed, hung and stopped at random under load."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.assay.faults.installation import Template
from benchmarks.assay.faults.rigs import Rig, why_no_rig
from benchmarks.assay.faults.run import run
from benchmarks.assay.faults.storm import Blow, How, Struck, storm, strike

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_no_rig("distributed")), reason=why_no_rig("distributed")),
]
KILLED = ("worker 1", "server", "web 1", "broker", "database")


@pytest.mark.parametrize("victim", KILLED)
def test_one_is_killed_and_every_accepted_case_has_one_report(victim: str, template: Template, tmp_path: Path) -> None:
    def killed(rig: Rig) -> list[Struck]:
        return [strike(rig, Blow(victim, How.KILLED), 2.0)]

    assert run("distributed", template, tmp_path, killed).broken == []


def test_a_storm(template: Template, tmp_path: Path) -> None:
    outcome = run("distributed", template, tmp_path, lambda rig: storm(rig, 120.0, seed=4))

    assert outcome.broken == []
    assert len(outcome.stormed) > 1
