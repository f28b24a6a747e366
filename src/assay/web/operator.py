"""What the operator of the installation sees to: tenants, references, dead letters, audit chains."""

from __future__ import annotations

from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response

from assay.cases import Claim, Scope
from assay.errors import Reason, Refusal, invalid, not_found
from assay.imaging.uploads import Limits
from assay.queue.jobs import DeadLetter
from assay.references import EnrolmentPhoto, enrol
from assay.references.snapshot import Snapshot
from assay.views import VIEWS, View
from assay.web.call import Call, Json, answer
from assay.web.documents import tenant_document, time_text
from assay.web.fields import Fields
from assay.web.operations import MULTIPART

_FIRST_KEY_SCOPES = (Scope.SUBMIT, Scope.REVIEW, Scope.ADMIN)
_PHOTOS_MOST = 600  # of one enrolment
_LETTERS_MOST = 200


async def list_tenants(call: Call) -> Response:
    tenants = await call.run(call.services.store.tenants.all)
    return answer({"tenants": [tenant_document(tenant) for tenant in tenants]})


async def create_tenant(call: Call) -> Response:
    """A tenant and the key of its first administrator."""
    fields = await call.fields("name", "retention_days")
    name, days = fields.text("name", 1, 80), fields.whole("retention_days", 1, 3650, 365)
    tenants, actor = call.services.store.tenants, call.caller.key_id
    tenant = await call.run(tenants.create, name, days, actor=actor)
    key_id, secret = await call.run(tenants.create_key, tenant.id, "administrator", _FIRST_KEY_SCOPES, actor)
    return answer({"tenant": tenant_document(tenant), "key": {"id": key_id, "secret": secret}}, 201)


async def list_references(call: Call) -> Response:
    references = call.services.references
    models = await call.run(references.models)
    snapshots = [await call.run(references.latest, claim) for claim in models]
    return answer({"models": [_snapshot_document(snapshot) for snapshot in snapshots if snapshot]})


def _snapshot_document(snapshot: Snapshot) -> Json:
    return {
        "claim": {"brand": snapshot.claim.brand, "model": snapshot.claim.model},
        "version": snapshot.version,
        "digest": snapshot.digest,
        "created_at": time_text(snapshot.created_at),
        "photos": {view.value: len(references.photos) for view, references in snapshot.views.items()},
    }


async def enrol_references(call: Call) -> Response:
    """A form with brand, model and files named ITEM.VIEW. It becomes the model's next version."""
    if call.media_type != MULTIPART:
        raise invalid(f"the body is {call.media_type or 'of no type'}; expected {MULTIPART}")
    async with call.request.form(max_files=_PHOTOS_MOST, max_fields=2) as form:
        texts = {name: value for name, value in form.items() if isinstance(value, str)}
        fields = Fields(texts, "form").only("brand", "model")
        claim = Claim(fields.text("brand", 1, 80), fields.text("model", 1, 80))
        photos = [await _enrolment_photo(name, file) for name, file in _files(form)]
    services = call.services
    limits = Limits.of(services.settings)
    lens, comparer = services.lens, services.comparer
    snapshot = await enrol(claim, photos, lens, comparer, services.references, services.clock, limits)
    return answer(_snapshot_document(snapshot), 201)


def _files(form: FormData) -> list[tuple[str, UploadFile]]:
    return [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]


async def _enrolment_photo(name: str, file: UploadFile) -> EnrolmentPhoto:
    item, _, view = name.rpartition(".")
    views = {view.value: view for view in VIEWS}
    if not 0 < len(item) <= 80 or view not in views:
        raise invalid(f"the form has a file {name[:80]!r}; expected ITEM.VIEW with a view of {', '.join(views)}")
    return EnrolmentPhoto(item, View(view), await file.read())


async def list_dead_letters(call: Call) -> Response:
    letters = await call.services.queue.dead_letters(_LETTERS_MOST)
    return answer({"dead_letters": [_letter_document(letter) for letter in letters]})


def _letter_document(letter: DeadLetter) -> Json:
    job = letter.job
    lane = job.lane.value
    return {"job_id": job.id, "case_id": job.case_id, "lane": lane, "why": letter.why, "attempts": letter.attempts}


async def revive_dead_letter(call: Call) -> Response:
    """The case is queued again, and the job after it."""
    job_id = call.path("job_id")
    letters = await call.services.queue.dead_letters(_LETTERS_MOST)
    letter = next((letter for letter in letters if letter.job.id == job_id), None)
    if letter is None:
        raise not_found(f"there is no dead letter {job_id[:64]!r}")
    await _requeue(call, letter)
    await call.services.queue.revive(job_id)
    return answer(_letter_document(letter), 202)


async def _requeue(call: Call, letter: DeadLetter) -> None:
    try:
        requeue = call.services.store.cases.requeue
        await call.run(requeue, letter.job.case_id, letter.job.traceparent, call.caller.key_id)
    except Refusal as err:
        if err.reason is not Reason.CONFLICT:  # already queued, or ended meanwhile: the job finds out
            raise


async def verify_audit(call: Call) -> Response:
    found = await call.run(call.services.store.audit.verify, call.path("tenant_id"))
    return answer({"is_intact": found is None, "broken_at": found and found.seq, "what": found.what if found else ""})
