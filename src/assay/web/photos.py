"""Photographs: received, judged at once, shown again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from starlette.responses import Response

from assay.cases import Case, Finding, Photo
from assay.errors import Refusal
from assay.imaging.intake import receive
from assay.imaging.uploads import Limits, Upload, read_upload
from assay.intake import repeated, reused, wrong_view
from assay.store import Given
from assay.views import VIEWS, View
from assay.vision.lens import Floats
from assay.web.call import Call, answer, nothing
from assay.web.documents import photo_document

VIEW_CHECK_S = 1.0  # the answer does not wait longer for the engine: the judging looks again


async def put_photo(call: Call) -> Response:
    """The raw body is the photograph. What is wrong with it is said at once."""
    case_id, view = call.path("case_id"), call.view
    await call.run(call.services.store.cases.get, call.tenant_id, case_id)  # before any decoding
    given, upload = await read_photo(call, view, await call.request.body())
    put, actor = call.services.store.cases.put_photo, call.caller.key_id
    await call.run(put, call.tenant_id, case_id, *given, actor)
    besides = await _found_at_once(call, case_id, given.photo, upload)
    for finding in (*given.photo.findings, *besides):
        call.services.meter.count("retake", finding.fault.value)
    return answer(photo_document(given.photo, besides))


async def read_photo(call: Call, view: View, content: bytes) -> tuple[Given, Upload]:
    """Raises Refusal for what is no photograph."""
    limits, now = Limits.of(call.services.settings), call.services.clock()
    photo, upload = await call.run(receive, view, content, limits, now)
    call.services.sights.put(upload)
    return Given(photo, content, upload.picture), upload


async def _found_at_once(call: Call, case_id: str, photo: Photo, upload: Upload) -> list[Finding]:
    """Beside the case's other photographs, beside earlier cases, and by the engine if it answers soon."""
    case = await call.run(call.services.store.cases.get, call.tenant_id, case_id)
    besides = [*repeated(case.photos).get(photo.view, ()), *await _reused(call, case_id, photo)]
    seen = await _view_seen(call, upload)
    return besides if seen is None else [*besides, *wrong_view(photo.view, seen)]


async def _reused(call: Call, case_id: str, photo: Photo) -> tuple[Finding, ...]:
    return reused(await call.run(call.services.store.cases.reused, call.tenant_id, case_id, photo))


async def _view_seen(call: Call, upload: Upload) -> Floats | None:
    """Probabilities of the views; None when the engine does not answer within a second."""
    try:
        async with asyncio.timeout(VIEW_CHECK_S):
            return (await call.services.lens.look([upload.pixels]))[0].view
    except (TimeoutError, Refusal):
        return None


async def found_besides(call: Call, case: Case) -> Mapping[View, Sequence[Finding]]:
    """What the case's photographs are found to be beside each other and beside earlier cases."""
    within = repeated(case.photos)
    return {v: [*within.get(v, ()), *await _reused(call, case.id, p)] for v, p in case.photos.items()}


async def remove_photo(call: Call) -> Response:
    remove = call.services.store.cases.remove_photo
    await call.run(remove, call.tenant_id, call.path("case_id"), call.view, call.caller.key_id)
    return nothing()


async def tell_view(call: Call) -> Response:
    """Which view a photograph shows, before it belongs to a case."""
    limits = Limits.of(call.services.settings)
    upload = await call.run(read_upload, await call.request.body(), limits)
    seen = (await call.services.lens.look([upload.pixels]))[0].view
    likeliest = VIEWS[int(seen.argmax())]
    probabilities = {view.value: float(p) for view, p in zip(VIEWS, seen, strict=True)}
    return answer({"view": likeliest.value, "probabilities": probabilities})
