"""The report as a page of its own: pictures inside, no script, nothing fetched from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, Template

from assay.imaging.heat import colours, overlay
from assay.report import qr
from assay.report.document import Decision
from assay.report.sheet import Picture, read_sheet
from assay.report.verification import Verified
from assay.report.wording import PHRASES
from assay.templates import environment_of

RAMP_STEPS = 24  # of a heat map's legend


def html(document: bytes, picture: Picture, verify_url: str, notice: str = "", decision: Decision | None = None) -> str:
    """The page of an issued report. It depends on nothing else: the same arguments give the same text.

    ``picture`` finds pictures by SHA-256, None for one that was erased; ``notice`` is shown above everything, for
    what readers must not overlook: demonstration data, for instance; ``decision`` is people's, where there is one.
    """
    sheet = read_sheet(document, picture, overlay, decision)
    code = qr.code(verify_url)
    drawn = {"qr_side": code.side, "qr_path": qr.path(code), "ramp": colours(RAMP_STEPS)}
    return _template("report.html").render(
        sheet=sheet, notice=notice, verify_url=verify_url, **drawn, **_head("'none'")
    )


def verification_page(verified: Verified | None, stored: bool, report_id: str, check_url: str = "") -> str:
    """What anyone may see of a report: whether it was issued, its digest and verdict; neither claim nor photographs.

    ``verified`` is None when no such report is known, or when nothing was asked yet and ``report_id`` is ''; ``stored``
    says that the document is the one kept under its id; with ``check_url`` there is a form that posts a file (field
    ``document``) to be verified.
    """
    phrase = next((PHRASES[v] for v in PHRASES if verified is not None and v.value == verified.verdict), None)
    return _template("verification.html").render(
        verified=verified, stored=stored, report_id=report_id, check_url=check_url, phrase=phrase, **_head("'self'")
    )


def content_security_policy(form_action: str = "'none'") -> str:
    """What the pages need, for the header of that name: their own style sheet and the pictures inside."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action {form_action}"


def _head(form_action: str) -> dict[str, str]:
    return {"style": _style(), "policy": content_security_policy(form_action)}


@cache
def _style() -> str:
    return (files("assay.report") / "templates" / "report.css").read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = environment_of("assay.report")
    environment.filters["picture_uri"] = _picture_uri
    return environment


def _template(name: str) -> Template:
    return _environment().get_template(name)


def _picture_uri(content: bytes) -> str:
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
