"""What every lens promises, asked of both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.assay.vision.lens_house import OpenLens, assert_same_bits, some_photos

from assay.errors import Reason, Refusal
from assay.settings import Settings
from assay.vision import open_lens
from assay.vision.answers import features_of
from assay.vision.engines import PHOTO, identity_of
from assay.vision.lens import EMBEDDING, GRID, PATCH_FEATURES, PATCHES, SIDE, Features
from fusee.runtime.engine import load

pytestmark = pytest.mark.runs_alone


@pytest.fixture(scope="module", params=["local", "remote"])
def lens(request: pytest.FixtureRequest, packed_engines: Path) -> Iterator[OpenLens]:
    with OpenLens(request.param, packed_engines) as opened:
        yield opened


def seen_by_engine(engines: Path, count: int) -> list[Features]:
    with load(engines / "photo.fusee") as engine:
        return features_of(engine.run({"photo": np.stack(some_photos(count))}))


def test_gives_what_the_engine_computes_for_each_photo(lens: OpenLens, packed_engines: Path) -> None:
    found = lens.look(some_photos(6))
    assert_same_bits(found, seen_by_engine(packed_engines, 6))
    shapes = [np.shape(value) for value in found[0]]
    assert shapes == [(PATCHES, PATCH_FEATURES), (EMBEDDING,), (6,), (GRID, GRID)]


def test_gives_the_same_bits_in_any_company(lens: OpenLens, packed_engines: Path) -> None:
    photos = some_photos(23)

    async def ask() -> list[Features]:
        parts = (photos[:1], photos[1:4], photos[4:5], photos[5:])  # the last is more than one batch
        answers = await asyncio.gather(*(lens.lens.look(part) for part in parts))
        return [features for answer in answers for features in answer]

    assert_same_bits(lens.run(ask()), seen_by_engine(packed_engines, 23))


def test_nothing_to_look_at(lens: OpenLens) -> None:
    assert lens.look([]) == []


def test_refuses_what_is_no_photo_of_its_size(lens: OpenLens) -> None:
    with pytest.raises(Refusal, match=r"photo 1 is uint8\[320, 100, 3\], expected uint8\[320, 320, 3\]") as refused:
        lens.look([*some_photos(1), np.zeros((SIDE, 100, 3), np.uint8)])
    assert refused.value.reason is Reason.INVALID


def test_knows_which_engine_answers(lens: OpenLens, packed_engines: Path) -> None:
    assert lens.lens.identity == identity_of(packed_engines, PHOTO)


@pytest.mark.parametrize("lens_url", ["", "grpc://127.0.0.1:1"])
def test_is_of_no_use_before_it_is_opened(lens_url: str, packed_engines: Path) -> None:
    closed = open_lens(Settings(packed_engines.parent, lens_url=lens_url))
    with pytest.raises(Refusal, match="the lens is closed; open it first") as refused:
        asyncio.run(closed.look(some_photos(1)))
    assert refused.value.reason is Reason.UNAVAILABLE
