"""Photographs: repeatable, honest masks, and conditions that do what they say."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from assay.synthetic import Condition, Defect, counterfeit, draw_case, draw_style, encode, genuine, photograph
from assay.synthetic.__main__ import contact_sheet
from assay.synthetic.camera import _camera, _matrix
from assay.synthetic.surface import MARGIN
from assay.views import VIEWS, View

SIZE_PX = 192
IN_A_FRESH_PROCESS = """
import hashlib
from assay.synthetic import counterfeit, draw_style, photograph
from assay.views import VIEWS
shots = [photograph(counterfeit(draw_style(3), 1), view, 2, size_px=96) for view in VIEWS]
print(hashlib.sha256(b"".join(shot.pixels.tobytes() + shot.altered.tobytes() for shot in shots)).hexdigest())
"""


def _luma(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def _sharpness(pixels: np.ndarray) -> float:
    """Variance of the Laplacian."""
    y = _luma(pixels)
    return float((4 * y[1:-1, 1:-1] - y[:-2, 1:-1] - y[2:, 1:-1] - y[1:-1, :-2] - y[1:-1, 2:]).var())


def test_the_same_arguments_give_the_same_photo_in_any_process():
    shots = [photograph(counterfeit(draw_style(3), 1), view, 2, size_px=96) for view in VIEWS]
    here = hashlib.sha256(b"".join(shot.pixels.tobytes() + shot.altered.tobytes() for shot in shots)).hexdigest()
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    ran = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS], capture_output=True, text=True, check=True, env=environment
    )
    assert ran.stdout.strip() == here


def test_item_and_camera_each_change_the_photo():
    style = draw_style(4)
    one = photograph(genuine(style, 1), View.LOGO, 1, size_px=96).pixels
    assert not np.array_equal(one, photograph(genuine(style, 2), View.LOGO, 1, size_px=96).pixels)
    assert not np.array_equal(one, photograph(genuine(style, 1), View.LOGO, 2, size_px=96).pixels)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.value)
def test_a_shot_is_a_photo_with_an_empty_mask_when_genuine(view: View):
    shot = photograph(genuine(draw_style(5), 1), view, 1, size_px=160)
    assert shot.pixels.shape == (160, 160, 3)
    assert shot.pixels.dtype == np.uint8
    assert shot.altered.shape == (160, 160)
    assert shot.altered.dtype == np.bool_
    assert not shot.altered.any()
    assert shot.view is view
    assert shot.defects == ()
    assert _luma(shot.pixels).std() > 5


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.value)
def test_size_changes_the_resolution_and_not_the_picture(view: View):
    item = genuine(draw_style(6), 1)
    large = Image.fromarray(photograph(item, view, 1, size_px=384).pixels).resize((48, 48), Image.Resampling.BOX)
    small = Image.fromarray(photograph(item, view, 1, size_px=192).pixels).resize((48, 48), Image.Resampling.BOX)
    assert np.abs(np.asarray(large, float) - np.asarray(small, float)).mean() < 6


@pytest.mark.parametrize("defect", Defect, ids=lambda defect: defect.value)
def test_a_defect_shows_inside_its_mask_and_hardly_outside(defect: Defect):
    for seed in (0, 9, 14, 23):
        style = draw_style(seed)
        plain = photograph(genuine(style, 5), defect.view, 3, size_px=SIZE_PX)
        shot = photograph(counterfeit(style, 5, (defect,)), defect.view, 3, size_px=SIZE_PX)
        changed = np.abs(plain.pixels.astype(float) - shot.pixels).mean(axis=2)
        outside = changed[~shot.altered].mean() if not shot.altered.all() else 0.0
        assert shot.altered.mean() > 0.004
        assert changed[shot.altered].mean() > 3.0
        assert changed[shot.altered].mean() > 6 * outside
        assert outside < 2.0
        assert shot.defects == (defect,)


def test_masks_move_with_the_camera():
    item = counterfeit(draw_style(1), 5, (Defect.LOGO_LETTER,))
    places = [np.argwhere(photograph(item, View.LOGO, k, size_px=SIZE_PX).altered).mean(axis=0) for k in range(6)]
    assert np.ptp(places, axis=0).max() > 0.02 * SIZE_PX
    far = photograph(item, View.LOGO, 0, Condition.FAR, SIZE_PX)
    near = photograph(item, View.LOGO, 0, size_px=SIZE_PX)
    assert 0.05 < far.altered.sum() / near.altered.sum() < 0.4


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.value)
def test_conditions_do_what_they_say(view: View):
    item = genuine(draw_style(11), 5)
    shots = {condition: photograph(item, view, 3, condition, SIZE_PX).pixels for condition in Condition}
    good = shots[Condition.GOOD]
    assert _sharpness(shots[Condition.BLURRED]) < 0.25 * _sharpness(good)
    assert _luma(shots[Condition.DARK]).mean() < 0.35 * _luma(good).mean()
    assert _luma(shots[Condition.BRIGHT]).mean() > 1.4 * _luma(good).mean()
    burnt = {condition: (shots[condition].min(axis=2) >= 250).mean() for condition in (Condition.GOOD, Condition.GLARE)}
    assert burnt[Condition.GLARE] > burnt[Condition.GOOD] + 0.03
    edge = np.concatenate([shots[Condition.FAR][:12], shots[Condition.FAR][-12:]])
    assert _sharpness(edge) < _sharpness(good)


def test_good_cameras_never_look_past_the_surface():
    corners = np.array([[0, 0], [0, 767], [767, 0], [767, 767]], float)
    side = 768 * (1 + 2 * MARGIN)
    for seed in range(2000):
        a, b, c, d, e, f, g, h = _matrix(_camera(seed, Condition.GOOD), 768.0, 768, 0)
        for x, y in corners:
            w = g * x + h * y + 1
            assert 0 <= (a * x + b * y + c) / w <= side
            assert 0 <= (d * x + e * y + f) / w <= side


def test_encode_gives_a_jpeg_of_the_same_picture():
    shot = photograph(genuine(draw_style(2), 1), View.DATE_CODE, 1, size_px=128)
    image = Image.open(io.BytesIO(encode(shot)))
    assert image.format == "JPEG"
    assert np.abs(np.asarray(image, float) - shot.pixels).mean() < 4
    assert len(encode(shot, quality=40)) < len(encode(shot))


def test_a_case_has_six_views_of_one_item():
    genuine_case = draw_case(draw_style(8), 3, size_px=96)
    assert tuple(genuine_case) == VIEWS
    assert not any(shot.altered.any() for shot in genuine_case.values())
    altered = [
        sum(shot.altered.any() for shot in draw_case(draw_style(8), k, None, size_px=96).values()) for k in range(8)
    ]
    assert min(altered) >= 1
    assert max(altered) <= 3


def test_a_view_of_a_case_is_the_same_without_the_others():
    whole = draw_case(draw_style(8), 3, None, size_px=96)
    part = draw_case(draw_style(8), 3, None, size_px=96, views=VIEWS[4:])
    assert tuple(part) == VIEWS[4:]
    assert all(np.array_equal(shot.pixels, whole[view].pixels) for view, shot in part.items())


def test_a_contact_sheet_has_a_column_per_view():
    assert contact_sheet(draw_style(1), size_px=64).shape == (4 * 64, 6 * 64, 3)
