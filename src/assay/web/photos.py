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
from assay.views import VIEWS, View
from assay.vision.lens import Floats
from assay.web.call import Call, answer, nothing
from assay.web.documents import photo_document

VIEW_CHECK_S = 1.0  # the answer does not wait longer for the engine: the judging looks again


async def put_photo(call: Call) -> Response:
    """The raw body is the photograph. What is wrong with it is said at once."""
    photo, besides = await take_photo(call, call.path("case_id"), call.view, await call.request.body())
    return answer(photo_document(photo, besides))


async def take_photo(call: Call, case_id: str, view: View, content: bytes) -> tuple[Photo, list[Finding]]:
    """Keep it with its case. Raises Refusal for what is no photograph, and for a case that takes none."""
    services = call.services
    await call.run(services.store.cases.get, call.tenant_id, case_id)  # before any decoding
    photo, upload = await call.run(receive, view, content, Limits.of(services.settings), services.clock())
    put = services.store.cases.put_photo
    await call.run(put, call.tenant_id, case_id, photo, content, upload.picture, call.caller.key_id)
    case = await call.run(services.store.cases.get, call.tenant_id, case_id)
    besides = [*repeated(case.photos).get(view, ()), *await _reused(call, case_id, photo)]
    seen = await _view_seen(call, upload)
    if seen is not None:
        besides += wrong_view(view, seen)
    for finding in (*photo.findings, *besides):
        services.meter.count("retake", finding.fault.value)
    return photo, besides


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
