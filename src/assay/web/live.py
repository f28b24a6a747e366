"""A case's progress as it happens, by server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

from starlette.responses import Response, StreamingResponse

from assay.cases import Case, CaseState
from assay.queue.bell import Bell
from assay.web.call import Call, Json

POLL_S, LONGEST_POLL_S = 0.1, 1.0  # of the store: workers of other processes do not wake who follows, ours do
PATIENCE = 1.2  # how much longer than before each time: who waits for long is told a little later
SILENT_POLLS = 15  # then a comment is sent, so that nothing on the way takes the silence for an end
ENDS = (CaseState.REPORTED, CaseState.FAILED, CaseState.ERASED)


async def case_events(call: Call) -> Response:
    """States and stages, those that are over first; the stream ends with the case."""
    case_id = call.path("case_id")
    bell = call.services.store.news.bell(case_id)
    rings = bell.rings
    case = await call.run(call.services.store.cases.get, call.tenant_id, case_id)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_events(call, case, bell, rings), media_type="text/event-stream", headers=headers)


async def _events(call: Call, case: Case, bell: Bell, rings: int) -> AsyncGenerator[str]:
    """``rings`` of the bell before the case was read."""
    cases = call.services.store.cases
    told_state: CaseState | None = None
    poll_s = POLL_S
    told_stages = silent = 0
    while True:
        stages = await call.run(cases.progress, call.tenant_id, case.id)
        for stage in stages[told_stages:]:
            yield _event("stage", {"name": stage.name, "ms": stage.ms})
        if case.state is not told_state:
            yield _event("state", _state(case))
        elif len(stages) == told_stages and (silent := (silent + 1) % SILENT_POLLS) == 0:
            yield ": still here\n\n"
        told_state, told_stages = case.state, len(stages)
        if case.state in ENDS:
            return
        await bell.wait(rings, poll_s)
        poll_s, rings = min(LONGEST_POLL_S, PATIENCE * poll_s), bell.rings
        case = await call.run(cases.get, call.tenant_id, case.id)


def _state(case: Case) -> Json:
    return {"state": case.state.value, "report_id": case.report_id or None, "failure": case.failure or None}


def _event(name: str, document: Json) -> str:
    return f"event: {name}\ndata: {json.dumps(document)}\n\n"
