"""Receiving a photograph for a view."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.assay.imaging.photo_files import LIMITS, encoded, scene

from assay.cases import Fault
from assay.errors import Reason, Refusal
from assay.imaging.gate import measure
from assay.imaging.hashing import perceptual_hash
from assay.imaging.intake import receive
from assay.imaging.uploads import read_upload
from assay.views import View

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def test_all_that_a_case_keeps():
    content = encoded(scene(400, 300))
    photo, upload = receive(View.LOGO, content, LIMITS, NOW)
    read = read_upload(content, LIMITS)
    assert (photo.view, photo.received_at, photo.media_type) == (View.LOGO, NOW, "image/jpeg")
    assert (photo.width, photo.height, photo.size_bytes) == (400, 300, len(content))
    assert (photo.sha256, photo.perceptual_hash) == (read.sha256, perceptual_hash(read))
    assert photo.measures == measure(read)
    assert Fault.TOO_SMALL in {finding.fault for finding in photo.findings}
    assert upload.picture == read.picture


def test_a_refusal_names_the_view():
    with pytest.raises(Refusal) as caught:
        receive(View.DATE_CODE, b"text", LIMITS, NOW)
    assert caught.value.reason is Reason.UNSUPPORTED_MEDIA
    assert caught.value.message.startswith("date code photo: text of 4 bytes; expected a photograph.")
