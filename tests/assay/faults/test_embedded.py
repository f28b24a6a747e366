"""Everything in one process, which is killed, hung and stopped under load."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.assay.faults.installation import Template
from benchmarks.assay.faults.rigs import Rig
from benchmarks.assay.faults.run import Outcome, run
from benchmarks.assay.faults.storm import Struck, blows_on, storm, strike


def assert_whole(outcome: Outcome) -> None:
    assert outcome.broken == []
    assert outcome.seen.accepted
    assert outcome.stormed


def test_each_fault_once_and_every_accepted_case_has_one_report(template: Template, tmp_path: Path) -> None:
    def each_once(rig: Rig) -> list[Struck]:
        return [strike(rig, blow, 0.5) for blow in blows_on(rig)]

    assert_whole(run("embedded", template, tmp_path, each_once))


@pytest.mark.slow
def test_a_storm(template: Template, tmp_path: Path) -> None:
    assert_whole(run("embedded", template, tmp_path, lambda rig: storm(rig, 60.0, seed=3)))
