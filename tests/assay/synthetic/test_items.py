"""Items: genuine ones stay within tolerance, counterfeits leave it where they are meant to and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from assay.synthetic import Defect, Style, counterfeit, draw_style, genuine
from assay.synthetic.items import made
from assay.views import VIEWS, View

STYLES = [draw_style(seed) for seed in range(6)]


def test_genuine_items_vary_within_the_tolerance():
    for style in STYLES:
        seams = [made(genuine(style, seed), View.STITCHING).style.stitching.seam for seed in range(60)]
        ratios = [seam.pitch / style.stitching.seam.pitch for seam in seams]
        assert 0.985 <= min(ratios) < 0.993
        assert 1.007 < max(ratios) <= 1.015
        assert max(abs(seam.angle_deg - style.stitching.seam.angle_deg) for seam in seams) <= 1.0
        lattices = [made(genuine(style, seed), View.EXTERIOR).style.exterior.lattice for seed in range(60)]
        assert max(abs(lattice.pitch / style.exterior.lattice.pitch - 1) for lattice in lattices) <= 0.012
        assert len({lattice.phase for lattice in lattices}) == 60


def test_a_genuine_item_is_made_as_intended():
    for view in VIEWS:
        its = made(genuine(STYLES[0], 3), view)
        assert its.style == its.intended
        assert its.defects == ()


@pytest.mark.parametrize("defect", Defect, ids=lambda defect: defect.value)
def test_a_defect_changes_its_view_alone(defect: Defect):
    for style in STYLES:
        item = counterfeit(style, 5, (defect,))
        for view in VIEWS:
            its = made(item, view)
            assert (its.style != its.intended) == (view is defect.view)
            assert its.intended == made(genuine(style, 5), view).style


def _measures(style: Style) -> dict[Defect, float]:
    """The quantity that each measurable defect moves."""
    return {
        Defect.MONOGRAM_SPACING: style.exterior.lattice.pitch,
        Defect.LOGO_WEIGHT: style.logo.forms[0].weight,
        Defect.STITCH_PITCH: style.stitching.seam.pitch,
        Defect.THREAD_THICKNESS: style.stitching.seam.thickness,
        Defect.METAL_GRAIN: style.hardware.grain_pitch,
        Defect.ENGRAVING_DEPTH: style.hardware.engraving,
        Defect.WEAVE_PITCH: style.lining.pitch,
    }


@pytest.mark.parametrize("defect", _measures(STYLES[0]), ids=lambda defect: defect.value)
def test_a_defect_goes_beyond_the_tolerance(defect: Defect):
    for style in STYLES:
        nominal = _measures(style)[defect]
        good = [_measures(made(genuine(style, k), defect.view).style)[defect] / nominal for k in range(20)]
        bad = [
            _measures(made(counterfeit(style, k, (defect,)), defect.view).style)[defect] / nominal for k in range(20)
        ]
        assert min(abs(ratio - 1) for ratio in bad) > max(abs(ratio - 1) for ratio in good)


def test_strength_scales_a_defect():
    style = STYLES[1]
    intended = made(genuine(style, 2), View.STITCHING).style.stitching.seam.pitch
    shifts = [
        made(counterfeit(style, 2, (Defect.STITCH_PITCH,), strength), View.STITCHING).style.stitching.seam.pitch
        - intended
        for strength in (0.5, 1.0)
    ]
    assert shifts[1] == pytest.approx(2 * shifts[0])


def test_angles_leave_the_tolerance_by_degrees():
    for style in STYLES:
        for seed in range(10):
            seam = made(counterfeit(style, seed, (Defect.STITCH_ANGLE,)), View.STITCHING)
            assert 5.9 < abs(seam.style.stitching.seam.angle_deg - seam.intended.stitching.seam.angle_deg) < 12.1
            canvas = made(counterfeit(style, seed, (Defect.MONOGRAM_ANGLE,)), View.EXTERIOR)
            assert (
                5.9 < abs(canvas.style.exterior.lattice.angle_deg - canvas.intended.exterior.lattice.angle_deg) < 12.1
            )


def test_one_letter_of_a_logo_is_of_another_shape():
    its = made(counterfeit(STYLES[2], 4, (Defect.LOGO_LETTER,)), View.LOGO)
    pairs = zip(its.style.logo.forms, its.intended.logo.forms, strict=True)
    assert sum(form != before for form, before in pairs) == 1


@pytest.mark.parametrize("signs", ["LLDDDD", "LL-DDDD", "DDDDDD", "DDD-DDD", "LDDD.DD", "DD/DDDD"])
def test_a_code_of_another_format_is_never_the_style_s(signs: str):
    style = replace(STYLES[0], date_code=replace(STYLES[0].date_code, format=signs))
    for seed in range(20):
        assert made(counterfeit(style, seed, (Defect.CODE_FORMAT,)), View.DATE_CODE).style.date_code.format != signs


def test_defects_that_nobody_names_are_one_each_in_one_to_three_views():
    drawn = [counterfeit(STYLES[0], seed).defects for seed in range(300)]
    assert {len(defects) for defects in drawn} == {1, 2, 3}
    assert all(len({defect.view for defect in defects}) == len(defects) for defects in drawn)
    assert {defect for defects in drawn for defect in defects} == set(Defect)


def test_every_view_has_defects():
    assert {defect.view for defect in Defect} == set(VIEWS)
