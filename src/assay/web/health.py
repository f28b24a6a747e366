"""Whether this process lives, and whether it can take work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import numpy as np
from starlette.responses import Response

from assay.errors import Refusal
from assay.vision.lens import SIDE
from assay.web.call import Call, answer

READY_S = 5.0
READY = "ready"


async def alive(call: Call) -> Response:
    return answer({"status": "alive"})


async def ready(call: Call) -> Response:
    """Database, queue and lens are each asked. Without the database nothing can be taken; without the others what is
    accepted waits in the outbox or the queue, so that a front end which left them out of its round would only refuse
    what it could have kept."""
    services = call.services
    photo = np.zeros((SIDE, SIDE, 3), np.uint8)
    asked = {
        "database": _state(call.run(services.store.cases.counts)),
        "queue": _state(services.queue.depth()),
        "lens": _state(services.lens.look([photo])),
    }
    states = dict(zip(asked, await asyncio.gather(*asked.values()), strict=True))
    if states["database"] != READY:
        return answer({"status": "not ready", **states}, 503)
    is_whole = all(state == READY for state in states.values())
    return answer({"status": READY if is_whole else "degraded", **states})


async def _state(asked: Awaitable[object]) -> str:
    try:
        async with asyncio.timeout(READY_S):
            await asked
    except Refusal as err:
        return err.message
    except TimeoutError:
        return f"no answer within {READY_S:.0f} s"
    return READY
