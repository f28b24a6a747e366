"""Scores of many cases at once, for calibration: what a worker does, without a store and without a verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from assay.errors import invalid
from assay.imaging.uploads import Limits, read_upload
from assay.judging import check_network
from assay.judging.scoring import CaseScore, score_case
from assay.references.snapshot import Snapshot
from assay.services import Services
from assay.views import VIEWS, View


async def score_photographs(services: Services, snapshot: Snapshot, photos: Mapping[View, bytes]) -> CaseScore:
    """Of one case with photographs of all six views. Raises Refusal."""
    missing = [view.title for view in VIEWS if view not in photos]
    if missing:
        raise invalid(f"no photograph of the {missing[0]}; a case that thresholds are made with has all six views")
    check_network(services.lens.identity.model_digest, "the photo engine", snapshot)
    limits = Limits.of(services.settings)
    reading = (asyncio.to_thread(read_upload, photos[view], limits) for view in VIEWS)
    uploads = await asyncio.gather(*reading)
    features = dict(zip(VIEWS, await services.lens.look([upload.pixels for upload in uploads]), strict=True))
    comparing = (
        asyncio.to_thread(services.comparer.compare, features[view].patches, snapshot.views[view].bank)
        for view in VIEWS
    )
    return score_case(snapshot, features, dict(zip(VIEWS, await asyncio.gather(*comparing), strict=True)))
