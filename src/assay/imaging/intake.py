"""A photograph received for a view: read, measured, recognisable."""

from __future__ import annotations

from datetime import datetime

from assay.cases import Photo
from assay.errors import Refusal
from assay.imaging.gate import gate, measure
from assay.imaging.hashing import perceptual_hash
from assay.imaging.uploads import Limits, Upload, read_upload
from assay.views import View


def receive(view: View, content: bytes, limits: Limits, received_at: datetime) -> tuple[Photo, Upload]:
    """What a case keeps of a photograph, and its pixels. Raises Refusal, as ``read_upload``, naming the view."""
    try:
        upload = read_upload(content, limits)
    except Refusal as err:
        raise Refusal(err.reason, f"{view.title} photo: {err.message}") from err
    measures = measure(upload)
    photo = Photo(
        view=view,
        sha256=upload.sha256,
        size_bytes=upload.size_bytes,
        media_type=upload.media_type,
        width=upload.width,
        height=upload.height,
        perceptual_hash=perceptual_hash(upload),
        measures=measures,
        findings=gate(measures),
        received_at=received_at,
    )
    return photo, upload
