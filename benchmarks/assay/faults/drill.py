"""One fault at a time, each over before the next: how long it is felt."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from time import monotonic, sleep

from sqlalchemy import create_engine, func, select

from assay.cases import CaseState
from assay.settings import Settings
from assay.store.tables import cases, reports
from benchmarks.assay.faults.rigs import Rig
from benchmarks.assay.faults.storm import Struck, blows_on, strike

CALM_S = 3.0  # of load before each fault
DOWN_S = 1.0  # between a kill and the restart
PATIENCE_S = 120.0
LOOK_S = 0.25


@dataclass(frozen=True)
class Recovery:
    """How long what a fault did was felt, in seconds from the fault. None: nothing was."""

    down_s: float  # until the process was back, and said that it was ready
    first_s: float | None  # until the first report, whoever gave it
    all_s: float | None  # until the last report of the cases that were waiting or under way at the fault


def drill(rig: Rig) -> list[Struck]:
    """Each fault once, under load. Of two processes of one kind, one is struck."""
    struck: list[Struck] = []
    for blow in {blow.kind: blow for blow in blows_on(rig)}.values():
        sleep(CALM_S)
        struck.append(strike(rig, blow, DOWN_S))
        _until_reported(rig.settings, struck[-1].back_at)
    return struck


def _until_reported(settings: Settings, before: datetime) -> None:
    """All cases that were accepted before. Raises TimeoutError."""
    query = select(func.count()).where(cases.c.state == CaseState.QUEUED, cases.c.submitted_at < before)
    ends = monotonic() + PATIENCE_S
    with closing(create_engine(settings.database_url).connect()) as connection:
        while waiting := connection.scalar(query):
            if monotonic() > ends:
                raise TimeoutError(f"{waiting} cases have no report {PATIENCE_S:.0f} s after all was there again")
            connection.rollback()
            sleep(LOOK_S)


def recoveries(settings: Settings, struck: Sequence[Struck]) -> dict[str, Recovery]:
    """By kind of fault, from the times that the database has."""
    engine = create_engine(settings.database_url)
    query = select(cases.c.submitted_at, reports.c.created_at).join(reports, reports.c.case_id == cases.c.id)
    with closing(engine.connect()) as connection:
        times = [(row.submitted_at, row.created_at) for row in connection.execute(query)]
    engine.dispose()
    return {each.blow.kind: _recovery(each, times) for each in struck}


def _recovery(struck: Struck, times: Sequence[tuple[datetime, datetime]]) -> Recovery:
    later = [(submitted, reported) for submitted, reported in times if reported > struck.at]
    waiting = [reported for submitted, reported in later if submitted < struck.at]
    first = min((reported for _, reported in later), default=None)
    return Recovery(
        (struck.back_at - struck.at).total_seconds(),
        None if first is None else (first - struck.at).total_seconds(),
        (max(waiting) - struck.at).total_seconds() if waiting else None,
    )
