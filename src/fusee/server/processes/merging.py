"""What front ends count and show: counts go to the engine process, and pages drawn there are shown at their doors."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from fusee.server.door import Content, DoorCounts, Page
from fusee.server.errors import ServingError, not_found
from fusee.server.operations import Scope
from fusee.server.processes.plane_server import Operate
from fusee.server.processes.remote import RemotePlane
from fusee.server.types import Json

REPORT_PERIOD_S = 1.0
REPORT, PAGE = "report", "page"  # internal operations of the engine process


class ReportedCounts(DoorCounts):
    """The counts of all front ends. Those of one that ended stay in, so that no sum ever shrinks."""

    def __init__(self) -> None:
        super().__init__()
        self._by_process: dict[int, Mapping[tuple[str, int], int]] = {}

    async def report(self, arguments: Mapping[str, Json]) -> Json:
        """The operation REPORT: what a front end has counted since its start."""
        self._by_process[arguments["pid"]] = {(door, code): count for door, code, count in arguments["counts"]}
        return {}

    def items(self) -> Iterable[tuple[tuple[str, int], int]]:
        total: Counter[tuple[str, int]] = Counter()
        for counts in self._by_process.values():
            total.update(counts)
        return sorted(total.items())


async def keep_reporting(plane: RemotePlane, counts: DoorCounts, period_s: float = REPORT_PERIOD_S) -> None:
    """Report a front end's counts until cancelled; without an engine process, to the next one."""
    while True:
        with suppress(ServingError):  # what is not reported now is reported next time: counts are since the start
            await report(plane, counts)
        await asyncio.sleep(period_s)


async def report(plane: RemotePlane, counts: DoorCounts) -> None:
    """Report a front end's counts. Raises ServingError."""
    found = [[door, code, count] for (door, code), count in counts.items()]
    await plane.call(REPORT, {"pid": os.getpid(), "counts": found})


def drawing(pages: Sequence[Page]) -> Operate:
    """The operation PAGE of the engine process: one of those pages by its path."""
    by_path = {page.path: page for page in pages}

    async def draw(arguments: Mapping[str, Json]) -> Json:
        page = by_path.get(arguments["path"])
        if page is None:
            raise not_found(f"there is no page {arguments['path']}")
        content = await page.render()
        return {"content_type": content.content_type, "body": content.body.decode()}

    return draw


def shown(plane: RemotePlane, path: str, scope: Scope) -> Page:
    """A front end's page that the engine process draws."""

    async def render() -> Content:
        found = await plane.call(PAGE, {"path": path})
        return Content(found["content_type"], found["body"].encode())

    return Page(path, scope, render)
