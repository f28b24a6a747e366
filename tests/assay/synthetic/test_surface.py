"""Surfaces, patterns and grain: light comes from where it stands, what repeats does so without a seam."""

from __future__ import annotations

import math

import numpy as np
import pytest

from assay.synthetic.arrays import stream
from assay.synthetic.grain import Grain, grain_tile
from assay.synthetic.motifs import lay_pattern
from assay.synthetic.stitches import along
from assay.synthetic.surface import Light, Surface, shade


def _lamp(x: float, y: float) -> Light:
    z = math.sqrt(1 - x * x - y * y)
    return Light((x, y, z), 0.9, 0.3, (1.0, 1.0, 1.0), (0.0, 0.0), 0.0)


@pytest.mark.parametrize(("x", "y"), [(-0.6, 0.0), (0.6, 0.0), (0.0, -0.6)])
def test_a_bump_is_bright_on_the_side_of_the_light(x: float, y: float):
    surface = Surface(100.0)
    surface.albedo[:] = 0.5
    surface.height[:] = 0.2 * np.exp(-((surface.x - 0.5) ** 2 + (surface.y - 0.5) ** 2) / 0.02)
    lit = shade(surface, _lamp(x, y))[:, :, 0].astype(float)
    middle, step = surface.size_px // 2, 10
    towards = lit[middle + round(step * y / 0.6), middle + round(step * x / 0.6)]
    away = lit[middle - round(step * y / 0.6), middle - round(step * x / 0.6)]
    assert towards > 1.5 * away


def test_what_stands_off_casts_its_shadow_away_from_the_light():
    surface = Surface(100.0)
    surface.albedo[:] = 0.5
    surface.overhang[surface.window(0.4, 0.4, 0.6, 0.6)] = 1.0
    lit = shade(surface, _lamp(-0.6, 0.0))[:, :, 0].astype(float)
    row = surface.window(0, 0.5, 1, 0.51)[0]
    right, left = surface.window(0.61, 0, 0.64, 1)[1], surface.window(0.36, 0, 0.39, 1)[1]
    assert lit[row, right].mean() < lit[row, left].mean() - 5


@pytest.mark.parametrize("grain", Grain, ids=lambda grain: grain.value)
def test_grain_repeats_without_a_seam(grain: Grain):
    tile = grain_tile(grain, 40, 3)
    inner = np.abs(np.diff(tile, axis=1)).mean()
    assert np.abs(tile[:, 0] - tile[:, -1]).mean() < 2 * inner
    assert np.abs(tile[0] - tile[-1]).mean() < 2 * np.abs(np.diff(tile, axis=0)).mean()
    assert tile.std() > 0.05


def test_a_pattern_is_laid_at_its_pitch():
    tile = np.zeros((20, 20), np.float32)
    tile[8:12, 8:12] = 1.0
    laid = lay_pattern(tile, 20, 16.0, 0.0, (0.3, 0.7), 320)
    profile = laid.mean(axis=0) - laid.mean()
    assert np.argmax(np.abs(np.fft.rfft(profile))[1:]) + 1 == 320 / 16


def test_stitches_follow_their_path_at_equal_distances():
    corner = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))
    places = along(corner, 0.25, 0.125)
    assert len(places) == 8
    assert places[0] == pytest.approx((0.125, 0.0, 0.0))
    assert places[-1] == pytest.approx((1.0, 0.875, math.pi / 2))


def test_streams_are_their_keys():
    assert stream(1, 2).random() == stream(1, 2).random()
    assert stream(1, 2).random() != stream(2, 1).random()
