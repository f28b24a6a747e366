"""Public verification: whether a report was issued here, unchanged. Neither claim nor photographs are shown."""

from __future__ import annotations

from starlette.datastructures import UploadFile
from starlette.responses import Response

from assay.errors import Reason, Refusal, invalid
from assay.report.page import content_security_policy, verification_page
from assay.report.signing import public_keys_document
from assay.report.verification import Verified, verify
from assay.web.access import address_of
from assay.web.call import Call, answer
from assay.web.operations import MULTIPART

CHECK_PATH = "/verify"


async def public_keys(call: Call) -> Response:
    headers = {"cache-control": "public, max-age=300", "access-control-allow-origin": "*"}
    return Response(public_keys_document(call.services.signer), media_type="application/json", headers=headers)


async def verify_document(call: Call) -> Response:
    """The body is the report's JSON file."""
    _limit_rate(call)
    verified = await call.run(_verified, call, await call.request.body())
    return answer(
        {
            "is_valid": verified.passed,
            "report_id": verified.report_id,
            "issued_at": verified.issued_at,
            "verdict": verified.verdict,
            "result_sha256": verified.result_sha256,
            "key_id": verified.key_id,
            "checks": [check._asdict() for check in verified.checks],
        }
    )


def _verified(call: Call, document: bytes) -> Verified:
    return verify(document, call.services.signer.keys, at=call.services.clock())


def _limit_rate(call: Call) -> None:
    """Nobody is known here: the address has to do."""
    call.door.rates.take(f"address {address_of(call.request)}")


async def verification_form(call: Call) -> Response:
    return _page(verification_page(None, False, "", CHECK_PATH))


async def verification_of(call: Call) -> Response:
    """What the QR code of a report leads to."""
    _limit_rate(call)
    report_id = call.path("report_id")
    verified = await call.run(_stored, call, report_id)
    return _page(
        verification_page(verified, verified is not None, report_id[:64], CHECK_PATH), 200 if verified else 404
    )


def _stored(call: Call, report_id: str) -> Verified | None:
    try:
        document = call.services.store.reports.issued(report_id)
    except Refusal as err:
        if err.reason is Reason.NOT_FOUND:
            return None
        raise
    return _verified(call, document)


async def verify_upload(call: Call) -> Response:
    """The page's form: a file named document."""
    _limit_rate(call)
    if not call.media_type == MULTIPART:
        raise invalid(f"the body is {call.media_type or 'of no type'}; expected {MULTIPART} with a file named document")
    async with call.request.form(max_files=1, max_fields=0) as form:
        upload = form.get("document")
        if not isinstance(upload, UploadFile):
            raise invalid("the form has no file named document; choose the report's JSON file")
        document = await upload.read()
    verified = await call.run(_verified, call, document)
    stored = await call.run(_is_stored, call, verified, document)
    return _page(verification_page(verified, stored, verified.report_id, CHECK_PATH))


def _is_stored(call: Call, verified: Verified, document: bytes) -> bool:
    try:
        return call.services.store.reports.issued(verified.report_id) == document
    except Refusal as err:
        if err.reason is Reason.NOT_FOUND:
            return False
        raise


def _page(page: str, status: int = 200) -> Response:
    policy = content_security_policy("'self'") + "; frame-ancestors 'none'"
    headers = {"cache-control": "no-store", "content-security-policy": policy}
    return Response(page, status, headers, media_type="text/html")
