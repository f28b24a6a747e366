"""Styles: the same for the same seed, each unlike the others, and drawable."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from assay.synthetic import draw_style, genuine, photograph
from assay.views import VIEWS, View


def test_a_seed_gives_the_same_style_again():
    assert draw_style(7) == draw_style(7)
    assert pickle.loads(pickle.dumps(draw_style(7))) == draw_style(7)


def test_other_seeds_give_other_styles():
    styles = [draw_style(seed) for seed in range(400)]
    assert len({(style.exterior, style.logo.forms, style.stitching, style.hardware) for style in styles}) == 400
    assert len({(style.brand, style.model) for style in styles}) > 390


def test_brands_are_words_that_the_letterforms_can_write():
    for seed in range(200):
        brand = draw_style(seed).brand
        assert 4 <= len(brand) <= 7
        assert brand.isascii()
        assert brand.isalpha()


def _colours(seed: int, view: View) -> np.ndarray:
    """Mean colour of a coarse grid: what remains of a photo when its details are not looked at."""
    pixels = photograph(genuine(draw_style(seed), 1), view, 1, size_px=96).pixels
    return pixels.reshape(4, 24, 4, 24, 3).mean(axis=(1, 3)).ravel()


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.value)
def test_styles_look_different_beyond_what_items_of_one_style_do(view: View):
    looks = np.stack([_colours(seed, view) for seed in range(12)])
    between = np.abs(looks[:, None] - looks[None]).mean(axis=2)[~np.eye(12, dtype=bool)]
    style = draw_style(0)
    items = np.stack([photograph(genuine(style, k), view, 1, size_px=96).pixels for k in range(4)]).astype(float)
    coarse = items.reshape(4, 4, 24, 4, 24, 3).mean(axis=(2, 4)).reshape(4, -1)
    within = np.abs(coarse[:, None] - coarse[None]).mean(axis=2)[~np.eye(4, dtype=bool)]
    assert np.median(between) > 4 * within.max()
