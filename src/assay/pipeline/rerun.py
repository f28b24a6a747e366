"""A reported case judged again: the result must be the same bytes, or it is said what differs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from assay.cases import Case, Fault, Finding, Photo
from assay.errors import Reason, Refusal
from assay.pipeline.judge import CaseJudge, Reuse
from assay.report.verification import reproduces
from assay.services import Services


async def rerun(services: Services, case_id: str) -> list[str]:
    """What of the result differs, by name; empty when nothing does. Nothing is stored.

    Raises Refusal CONFLICT when what the report was made with is not here any more: its references or thresholds.
    """
    case = await asyncio.to_thread(services.store.cases.work, case_id)
    stored = (await asyncio.to_thread(services.store.reports.get, case.tenant_id, case_id)).content
    earlier = json.loads(stored)["result"]
    references = earlier["versions"]["references"]["digest"]
    snapshot = await asyncio.to_thread(services.references.by_digest, references) if references else None
    if references and snapshot is None:
        raise _gone(case_id, f"references {references}")
    calibration, wanted = services.calibration(), earlier["versions"]["calibration"]["digest"]
    if calibration is None or calibration.digest != wanted:
        raise _gone(case_id, f"thresholds {wanted}")
    judged = await CaseJudge(services).judge_with(case, snapshot, calibration, _reuse_told_by(earlier))
    if reproduces(stored, judged.document):
        return []
    again = json.loads(judged.document)["result"]
    return sorted(name for name in {*earlier, *again} if earlier.get(name) != again.get(name))


def _reuse_told_by(result: Mapping[str, Any]) -> Reuse:
    """What the report says of earlier appearances. Earlier cases may have been erased since."""
    told = {view["view"]: [f for f in view["findings"] if f["fault"] == Fault.REUSED.value] for view in result["views"]}

    def reuse(_: Case, photo: Photo) -> tuple[Finding, ...]:
        return tuple(
            Finding(Fault.REUSED, f["measured"], f["limit"], f["advice"], f["is_blocking"])
            for f in told[photo.view.value]
        )

    return reuse


def _gone(case_id: str, what: str) -> Refusal:
    return Refusal(Reason.CONFLICT, f"case {case_id} was judged with {what}, not here any more; its report still holds")
