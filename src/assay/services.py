"""All that the web and the workers need, made once and handed to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from assay.imaging.recent import RecentSights
from assay.judging.judgement import Calibration
from assay.meter import Meter
from assay.queue.jobs import JobQueue
from assay.references.snapshot import ReferenceStore
from assay.report.signing import Signer
from assay.settings import Settings
from assay.store import Store
from assay.vision import Comparer
from assay.vision.lens import Lens


@dataclass(frozen=True)
class Services:
    """The rooms of one installation. All are thread-safe; the queue and the lens are opened by whoever runs them."""

    settings: Settings
    store: Store
    queue: JobQueue
    lens: Lens
    comparer: Comparer
    references: ReferenceStore
    calibration: Callable[[], Calibration | None]  # the present one; None before `assay calibrate`
    signer: Signer
    clock: Callable[[], datetime]
    meter: Meter = field(default_factory=Meter)
    sights: RecentSights = field(default_factory=RecentSights)
