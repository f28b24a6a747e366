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


async def alive(call: Call) -> Response:
    return answer({"status": "alive"})


async def ready(call: Call) -> Response:
    """Database, queue and lens are each asked."""
    services = call.services
    photo = np.zeros((SIDE, SIDE, 3), np.uint8)
    states = {
        "database": await _state(call.run(services.store.cases.counts)),
        "queue": await _state(services.queue.depth()),
        "lens": await _state(services.lens.look([photo])),
    }
    is_ready = all(state == "ready" for state in states.values())
    return answer({"status": "ready" if is_ready else "not ready", **states}, 200 if is_ready else 503)


async def _state(asked: Awaitable[object]) -> str:
    try:
        async with asyncio.timeout(READY_S):
            await asked
    except Refusal as err:
        return err.message
    except TimeoutError:
        return f"no answer within {READY_S:.0f} s"
    return "ready"
