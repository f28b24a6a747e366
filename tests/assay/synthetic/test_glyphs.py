"""Letterforms: every sign can be drawn, and each parameter does what its name says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from assay.synthetic.glyphs import LETTERS, Letterform, inscribe, text_width

PLAIN = Letterform(0.15, 0.0, 0.9, 0.0, 0.0, 0.2, 0.5, 2.0, False)


def _cover(text: str, form: Letterform) -> np.ndarray:
    return np.asarray(inscribe(text, (form,) * len(text), 60.0).cover)


@pytest.mark.parametrize("sign", [*LETTERS, *"0123456789-./"])
def test_every_sign_leaves_ink_of_its_own(sign: str):
    assert _cover(sign, PLAIN).sum() > 20
    others = [_cover(other, PLAIN) for other in "AOX" if other != sign]
    assert all(
        _cover(sign, PLAIN).shape != other.shape or not np.allclose(_cover(sign, PLAIN), other) for other in others
    )


def test_a_space_leaves_none():
    assert _cover(" ", PLAIN).sum() == 0


def test_weight_and_serifs_add_ink_and_contrast_takes_some():
    ink = _cover("HEN", PLAIN).sum()
    assert _cover("HEN", replace(PLAIN, weight=0.2)).sum() > 1.15 * ink
    assert _cover("HEN", replace(PLAIN, serif=0.2)).sum() > 1.05 * ink
    assert _cover("HEN", replace(PLAIN, contrast=0.6)).sum() < 0.95 * ink


def test_letters_keep_their_cap_height_whatever_the_weight():
    for weight in (0.1, 0.2, 0.3):
        rows = np.flatnonzero(_cover("HI", replace(PLAIN, weight=weight)).max(axis=1) > 0.5)
        assert abs((rows[-1] - rows[0] + 1) - 60) <= 2


def test_tracking_widens_a_line_by_as_much():
    wide = replace(PLAIN, tracking=0.5)
    assert text_width("ABC", wide) == pytest.approx(text_width("ABC", PLAIN) + 2 * 0.3)
    assert _cover("ABC", wide).shape[1] - _cover("ABC", PLAIN).shape[1] == pytest.approx(2 * 0.3 * 60, abs=2)


def test_slots_keep_all_other_letters_in_place():
    forms = (PLAIN, replace(PLAIN, width=0.7), PLAIN)
    plain, odd = inscribe("HOH", (PLAIN,) * 3, 60.0), inscribe("HOH", forms, 60.0, slots=(PLAIN,) * 3)
    changed = np.flatnonzero(np.abs(plain.cover - odd.cover).max(axis=0) > 0.01)
    left, right = odd.columns[1]
    assert left <= changed[0]
    assert changed[-1] <= right
