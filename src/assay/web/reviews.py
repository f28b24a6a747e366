"""Reviews by people: the queue, a claim on its first case, opinions."""

from __future__ import annotations

from starlette.responses import Response

from assay.cases import Verdict
from assay.store.reviews import Opinion, Review
from assay.web.call import Call, Json, answer, nothing
from assay.web.decisions import reviewer_names
from assay.web.documents import time_text

REVIEWS_MOST = 100
NOTE_MOST = 4000


def review_document(review: Review) -> Json:
    return {
        "case_id": review.case_id,
        "risk": review.risk,
        "report_verdict": review.report_verdict.value,
        "waiting_since": time_text(review.waiting_since),
        "opinions": review.opinions,
        "claimed_by": review.claimed_by or None,
        "verdict": review.verdict.value if review.verdict else None,
        "decided_at": time_text(review.decided_at),
    }


async def list_reviews(call: Call) -> Response:
    reviews = await call.run(call.services.store.reviews.waiting, call.tenant_id, REVIEWS_MOST)
    return answer({"reviews": [review_document(review) for review in reviews]})


async def claim_review(call: Call) -> Response:
    """The riskiest case that is free, for half an hour; nothing when there is none."""
    review = await call.run(call.services.store.reviews.claim, call.tenant_id, call.caller.key_id)
    return nothing() if review is None else answer(review_document(review))


async def give_opinion(call: Call) -> Response:
    fields = await call.fields("verdict", "note")
    verdict, note = fields.choice("verdict", Verdict), fields.text("note", 0, NOTE_MOST)
    opine = call.services.store.reviews.opine
    review = await call.run(opine, call.tenant_id, call.path("case_id"), call.caller.key_id, verdict, note)
    return answer(review_document(review), 201)


async def list_opinions(call: Call) -> Response:
    """One's own until the case is decided, then all."""
    history = call.services.store.reviews.history
    opinions = await call.run(history, call.tenant_id, call.path("case_id"), call.caller.key_id)
    names = await call.run(reviewer_names, call)
    return answer({"opinions": [_opinion_document(opinion, names) for opinion in opinions]})


def _opinion_document(opinion: Opinion, names: dict[str, str]) -> Json:
    return {
        "reviewer": names.get(opinion.reviewer, opinion.reviewer),
        "ordinal": opinion.ordinal,
        "verdict": opinion.verdict.value,
        "note": opinion.note,
        "at": time_text(opinion.at),
    }
