"""Heat maps: what is kept of a distance map, and what people see of it."""

from __future__ import annotations

import hashlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from tests.assay.imaging.photo_files import LIMITS, encoded, scene

from assay.imaging.heat import colours, heat_map, overlay
from assay.imaging.uploads import encode_jpeg, read_upload
from assay.vision.lens import GRID, SIDE, Floats

PICTURE = read_upload(encoded(scene()), LIMITS).picture


def ramp(side: int = SIDE) -> Floats:
    """From -0.5 on the left to 1.5 on the right."""
    return np.tile(np.linspace(-0.5, 1.5, side, dtype=np.float32), (side, 1))


def levels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)))


def lightness(colour: str) -> float:
    """CIE L* of '#rrggbb'."""
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(116 * np.cbrt(linear @ (0.2126, 0.7152, 0.0722)) - 16)


def test_a_map_is_grey_from_low_to_high():
    heat = heat_map(ramp(), 0.0, 1.0)
    grey = levels(heat.png)
    assert (grey.shape, grey.dtype) == ((SIDE, SIDE), np.uint8)
    np.testing.assert_array_equal(grey, np.rint(np.clip(ramp(), 0, 1) * 255).astype(np.uint8))
    assert (heat.low, heat.high) == (0.0, 1.0)
    assert heat.sha256 == hashlib.sha256(heat.png).hexdigest()


def test_the_same_map_is_the_same_bytes():
    assert heat_map(ramp(), 0, 1) == heat_map(ramp().copy(), 0, 1)
    heat = heat_map(ramp(), 0, 1).png
    assert overlay(PICTURE, heat) == overlay(PICTURE, heat)


def test_a_coarse_map_is_enlarged_smoothly():
    coarse = np.zeros((GRID, GRID), np.float32)
    coarse[10, 30] = 1.0
    grey = levels(heat_map(coarse, 0.0, 1.0).png)
    assert grey.shape == (SIDE, SIDE)
    row, column = np.unravel_index(int(grey.argmax()), grey.shape)
    assert (row * GRID // SIDE, column * GRID // SIDE) == (10, 30)
    assert np.abs(np.diff(grey.astype(int), axis=1)).max() <= 40


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0)])
def test_a_map_needs_a_range(low: float, high: float):
    with pytest.raises(AssertionError, match="has no range"):
        heat_map(ramp(), low, high)


def test_a_map_needs_numbers():
    with pytest.raises(AssertionError, match="finite"):
        heat_map(np.full((SIDE, SIDE), np.nan, np.float32), 0, 1)


def test_cool_places_show_the_photo_and_hot_ones_the_colour():
    photo = np.asarray(Image.open(BytesIO(PICTURE))).astype(int)
    shown = np.asarray(Image.open(BytesIO(overlay(PICTURE, heat_map(ramp(), 0, 1).png)))).astype(int)
    away = np.abs(shown - photo).mean(axis=(0, 2))
    assert away[: SIDE // 5].max() < 4  # only encoding
    hottest = np.array([int(colours(2)[1][i : i + 2], 16) for i in (1, 3, 5)])
    assert (
        np.abs(
            shown[:, -SIDE // 5 :].mean(axis=(0, 1))
            - (0.85 * hottest + 0.15 * photo[:, -SIDE // 5 :].mean(axis=(0, 1)))
        ).max()
        < 4
    )


def test_an_overlay_has_no_metadata():
    shown = Image.open(BytesIO(overlay(PICTURE, heat_map(ramp(), 0, 1).png)))
    assert (shown.format, shown.size) == ("JPEG", (SIDE, SIDE))
    assert not shown.getexif()


def test_an_overlay_needs_sizes_that_fit():
    small = encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(AssertionError, match=r"a map of \(320, 320\) for a picture of \(8, 8\)"):
        overlay(small, heat_map(ramp(), 0, 1).png)


def test_colours_get_lighter_from_low_to_high_in_near_equal_steps():
    steps = np.diff([lightness(colour) for colour in colours(11)])
    assert steps.min() > 4
    assert steps.max() < 2.2 * steps.min()
    assert colours(2) == [colours(11)[0], colours(11)[-1]]
    assert len(set(colours(256))) == 256
