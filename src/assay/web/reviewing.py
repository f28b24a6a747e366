"""The pages of people who review."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from assay.cases import Case, Verdict
from assay.store.reviews import Opinion, Review
from assay.views import View
from assay.web.call import Call
from assay.web.decisions import reviewer_names
from assay.web.rendering import page
from assay.web.reports import document_of
from assay.web.reviews import REVIEWS_MOST

REVIEW_VERDICTS = (Verdict.CONSISTENT, Verdict.INCONCLUSIVE, Verdict.NOT_CONSISTENT)


@dataclass(frozen=True)
class Evidence:
    """One view as a reviewer sees it. The pictures are paths, '' where there is none."""

    title: str
    score: float | None
    photo: str
    heat_map: str
    reference: str
    distance: float
    findings: list[Any]


async def review_queue_page(call: Call) -> Response:
    reviews = await call.run(call.services.store.reviews.waiting, call.tenant_id, REVIEWS_MOST)
    claims = {
        r.case_id: (await call.run(call.services.store.cases.get, call.tenant_id, r.case_id)).claim for r in reviews
    }
    return page(call, "review_queue.html", reviews=reviews, claims=claims)


async def review_case_page(call: Call) -> Response:
    store, case_id = call.services.store, call.path("case_id")
    case = await call.run(store.cases.get, call.tenant_id, case_id)
    result = json.loads(await document_of(call))["result"]
    waiting = await call.run(store.reviews.waiting, call.tenant_id, REVIEWS_MOST)
    review = next((review for review in waiting if review.case_id == case_id), None)
    opinions = await call.run(store.reviews.history, call.tenant_id, case_id, call.caller.key_id)
    return page(
        call,
        "review_case.html",
        case=case,
        result=result,
        evidence=[_evidence(case, view) for view in result["views"]],
        opinions=opinions,
        names=await call.run(reviewer_names, call),
        why_not=_why_not(review, opinions, call.caller.key_id),
        review_verdicts=REVIEW_VERDICTS,
    )


def _why_not(review: Review | None, opinions: tuple[Opinion, ...], reviewer: str) -> str:
    """Why the reviewer gives no opinion now; '' when nothing is in the way."""
    if review is None:
        return "This case is not up for review, or is decided."
    if any(opinion.reviewer == reviewer for opinion in opinions):
        return "You have given yours. Another person gives the next."
    if review.claimed_by not in ("", reviewer):
        return "Another reviewer is looking at this case."
    return ""


def _evidence(case: Case, view: Any) -> Evidence:
    judged: Any = view["judged"] or {"score": None, "nearest": []}
    nearest: Any = judged["nearest"][0] if judged["nearest"] else None
    pictures, path = f"/v1/cases/{case.id}/pictures", f"/v1/cases/{case.id}/heat-maps/{view['view']}"
    return Evidence(
        title=View(view["view"]).title.capitalize(),
        score=judged["score"],
        photo=f"{pictures}/{view['photo']['picture_sha256']}",
        heat_map=path if view["heat_map"] else "",
        reference=f"{pictures}/{nearest['picture_sha256']}" if nearest else "",
        distance=nearest["distance"] if nearest else 0.0,
        findings=view["findings"],
    )
