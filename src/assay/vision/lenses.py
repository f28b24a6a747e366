"""Which lens an installation looks through."""

from __future__ import annotations

from assay.settings import Settings
from assay.vision.engines import PHOTO, identity_of
from assay.vision.lens import Lens
from assay.vision.local import LocalLens


def open_lens(settings: Settings) -> Lens:
    """The photo engine in this process, or at ``lens_url``; call its ``open`` next. Raises Refusal."""
    if not settings.lens_url:
        return LocalLens(settings.engines, settings.threads)
    from assay.vision.remote import RemoteLens  # of the extra assay-scale: not there on small installations

    return RemoteLens(settings.lens_url, identity_of(settings.engines, PHOTO))
