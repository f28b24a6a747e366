"""What people decided about a case, as its report shows it."""

from __future__ import annotations

from assay.report.document import Decision
from assay.web.call import Call


def decision_of(call: Call) -> Decision | None:
    """None while nothing is decided. Opinions of an undecided case are not read: they are blind."""
    store, case_id = call.services.store, call.path("case_id")
    case = store.cases.get(call.tenant_id, case_id)
    opinions = store.reviews.history(call.tenant_id, case_id)
    if not opinions or case.verdict is None:
        return None
    last = opinions[-1]
    agreeing = sum(opinion.verdict is case.verdict for opinion in opinions)
    name = reviewer_names(call).get(last.reviewer, last.reviewer)
    return Decision(case.verdict, name, last.at, last.note, agreeing)


def reviewer_names(call: Call) -> dict[str, str]:
    """What the keys are called, by id: opinions are kept under the id."""
    return {key.id: key.name for key in call.services.store.tenants.keys(call.tenant_id)}
