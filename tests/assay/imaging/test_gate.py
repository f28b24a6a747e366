"""The quality gate, on synthetic shots of every condition and on real photographs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import product

import numpy as np
import pytest
from PIL import Image, ImageFilter
from tests.assay.imaging.photo_files import LIMITS, encoded

from assay.cases import Fault
from assay.imaging.gate import (
    LEAST_BRIGHTNESS,
    LEAST_DETAIL,
    LEAST_FILL,
    LEAST_FINE_SHARE,
    LEAST_SHORT_SIDE,
    MOST_CLIPPED,
    MOST_GLARE,
    gate,
    measure,
)
from assay.imaging.uploads import read_upload
from assay.synthetic import Condition, draw_style, encode, genuine, photograph
from assay.views import VIEWS, View
from models.pictures import SHARED

SIZE_PX = 512
GOOD: Mapping[str, float] = {
    "short_side": 768.0, "detail": 900.0, "fine_share": 0.6, "brightness": 190.0, "clipped": 0.0, "glare": 0.0,
    "fill": 1.0,
}  # fmt: skip
REAL = sorted([*(SHARED / "data/clothing").glob("*.jpg"), *(SHARED / "data/imagenet").glob("*.JPEG")])


@cache
def shot(view: View, condition: Condition, style: int = 3) -> Image.Image:
    return Image.fromarray(photograph(genuine(draw_style(style), 5), view, 40 + style, condition, SIZE_PX).pixels)


def measured(content: bytes) -> Mapping[str, float]:
    return measure(read_upload(content, LIMITS))


def faults(measures: Mapping[str, float]) -> set[Fault]:
    return {finding.fault for finding in gate(measures)}


@pytest.mark.parametrize(
    ("condition", "fault"),
    [
        (Condition.BLURRED, Fault.BLURRED),
        (Condition.DARK, Fault.TOO_DARK),
        (Condition.GLARE, Fault.GLARE),
        (Condition.FAR, Fault.SUBJECT_TOO_SMALL),
    ],
)
@pytest.mark.parametrize("view", VIEWS)
def test_what_is_wrong_with_a_shot_is_found(view: View, condition: Condition, fault: Fault):
    assert fault in faults(measured(encoded(shot(view, condition), quality=92)))


@pytest.mark.parametrize("view", VIEWS)
def test_good_shots_pass(view: View):
    assert gate(measured(encoded(shot(view, Condition.GOOD), quality=92))) == ()


@pytest.mark.parametrize("view", VIEWS)
def test_a_burnt_out_shot_is_found(view: View):
    levels = np.asarray(shot(view, Condition.GOOD)).astype(np.float32)
    burnt = np.clip(levels * 255 / np.percentile(levels, 25), 0, 255).astype(np.uint8)
    assert Fault.TOO_BRIGHT in faults(measured(encoded(Image.fromarray(burnt), quality=92)))


def test_sizes_of_one_photograph_measure_alike():
    image = shot(View.LOGO, Condition.GOOD)
    large = measured(encoded(image.resize((2048, 2048), Image.Resampling.BICUBIC), quality=95))
    usual = measured(encoded(image, quality=95))
    for name in ("detail", "fine_share", "brightness"):
        assert large[name] == pytest.approx(usual[name], rel=0.25), name
    for name in ("clipped", "glare", "fill"):
        assert large[name] == pytest.approx(usual[name], abs=0.05), name


@pytest.mark.parametrize("path", REAL or [None], ids=lambda path: path.stem[:30] if path else "none")
def test_real_thumbnails_are_too_small_and_nothing_else_but_blurred_ones_are_found(path):
    if path is None:
        pytest.skip(f"data/clothing and data/imagenet are not among the shared material ({SHARED.name}/)")
    measures = measured(path.read_bytes())
    assert Fault.TOO_SMALL in faults(measures)
    assert faults(measures) <= {Fault.TOO_SMALL, Fault.GLARE}  # one lies on a white mat that touches little of the rim
    with Image.open(path) as image:
        radius = max(image.size) * 9 / 768
        blurred = image.convert("RGB").filter(ImageFilter.GaussianBlur(radius))
    assert Fault.BLURRED in faults(measured(encoded(blurred, quality=92)))


def test_nothing_is_wrong_at_the_limits_and_something_beyond_them():
    limits = {
        "short_side": (LEAST_SHORT_SIDE, -1, Fault.TOO_SMALL), "detail": (LEAST_DETAIL, -1, Fault.BLURRED),
        "fine_share": (LEAST_FINE_SHARE, -1, Fault.BLURRED), "brightness": (LEAST_BRIGHTNESS, -1, Fault.TOO_DARK),
        "clipped": (MOST_CLIPPED, 1, Fault.TOO_BRIGHT), "glare": (MOST_GLARE, 1, Fault.GLARE),
        "fill": (LEAST_FILL, -1, Fault.SUBJECT_TOO_SMALL),
    }  # fmt: skip
    assert limits.keys() == GOOD.keys()
    for name, (limit, direction, fault) in limits.items():
        assert gate({**GOOD, name: limit}) == ()
        (finding,) = gate({**GOOD, name: limit + 0.001 * direction})
        assert (finding.fault, finding.limit, finding.is_blocking) == (fault, limit, True)


def test_advice_is_concrete():
    bad = {**GOOD, "short_side": 400.0, "glare": 0.12, "fill": 0.3}
    small, glare, fill = (finding.advice for finding in gate(bad))
    assert "at least 480 pixels on its shorter side, this one has 400." in small
    assert glare.startswith("Switch the flash off and turn the item")
    assert "hides 12% of the photo" in glare
    assert fill.startswith("Move closer until the detail fills the photo: now it takes 30% of it")
    (dark,) = gate({**GOOD, "brightness": 20.0, "detail": 3.0, "fill": 0.1})
    assert dark.advice.startswith("Take it in daylight by a window")
    (bright,) = gate({**GOOD, "clipped": 0.6})
    assert "lower the exposure" in bright.advice
    assert "60% of the item" in bright.advice
    (blurred,) = gate({**GOOD, "detail": 3.0, "fine_share": 0.01, "fill": 0.1})
    assert "hold the phone still" in blurred.advice


@pytest.mark.parametrize("size", [(1, 1), (2, 900), (900, 5), (9, 9), (600, 600)])
def test_plain_pictures_of_any_shape_are_measured(size: tuple[int, int]):
    measures = measured(encoded(Image.new("RGB", size, (120, 90, 60))))
    assert all(np.isfinite(value) for value in measures.values())
    assert Fault.BLURRED in faults(measures)


def test_a_white_backdrop_is_no_glare():
    image = Image.new("RGB", (768, 768), "white")
    image.paste(shot(View.LINING, Condition.GOOD).resize((600, 600)), (84, 84))
    assert gate(measured(encoded(image, quality=95))) == ()
    image.paste(Image.new("RGB", (240, 240), "white"), (260, 260))
    assert faults(measured(encoded(image, quality=95))) == {Fault.GLARE}


def test_a_photograph_comes_out_the_same_each_time():
    content = encode(photograph(genuine(draw_style(3), 5), View.LOGO, 43))
    assert measured(content) == measured(content)


@pytest.mark.slow
def test_limits_stand_apart_from_what_was_measured():
    """The table in the gate's docstring comes from here (-s prints it): 12 styles, 6 views, each condition."""
    rows: dict[Condition, list[Mapping[str, float]]] = {condition: [] for condition in Condition}
    for condition, style, view in product(Condition, range(12), VIEWS):
        content = encode(photograph(genuine(draw_style(style), 7), view, 100 * style, condition))
        rows[condition].append(measured(content))
    for name, condition in product(GOOD, Condition):
        values = np.array([row[name] for row in rows[condition]])
        print(f"{name:10} {condition.value:8}", *(f"{v:9.3f}" for v in np.percentile(values, (0, 5, 50, 95, 100))))
    assert all(not gate(row) for row in rows[Condition.GOOD])
    assert all(Fault.TOO_DARK in faults(row) for row in rows[Condition.DARK])
    assert all(Fault.GLARE in faults(row) for row in rows[Condition.GLARE])
    assert all(Fault.SUBJECT_TOO_SMALL in faults(row) for row in rows[Condition.FAR])
    assert (
        sum(Fault.BLURRED in faults(row) for row in rows[Condition.BLURRED]) >= 70
    )  # of 72: black leather is dark too
    assert all(gate(row) for row in rows[Condition.BLURRED])
    burnt = [row for row in rows[Condition.BRIGHT] if row["clipped"] > 0.25]
    assert len(burnt) > 20
    assert all(faults(row) & {Fault.TOO_BRIGHT, Fault.GLARE} for row in burnt)
