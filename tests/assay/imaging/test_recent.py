"""Photographs that were read lately."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.assay.imaging.photo_files import LIMITS, encoded, scene

from assay.imaging import recent
from assay.imaging.recent import RecentSights, Sight
from assay.imaging.uploads import read_upload


def test_a_photograph_is_taken_once():
    sights, upload = RecentSights(), read_upload(encoded(scene(400, 300)), LIMITS)
    sights.put(upload)
    taken = sights.take(upload.sha256)
    assert taken == Sight(upload.pixels, upload.picture)
    assert sights.take(upload.sha256) is None


def test_the_oldest_give_way(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recent, "MOST", 2)
    sights, upload = RecentSights(), read_upload(encoded(scene(400, 300)), LIMITS)
    for name in ("a", "b", "a", "c"):
        sights.put(replace(upload, sha256=name))
    assert [name for name in "abc" if sights.take(name)] == ["a", "c"]
