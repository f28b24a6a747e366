"""Photographs in folders: what is wrong with one is said with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.errors import Refusal
from assay.folders import objects_in, views_in
from assay.views import View


def test_files_are_found_by_view_whatever_their_ending_and_case(tmp_path: Path):
    for name in ("LOGO.JPG", "date-code.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert views_in(tmp_path) == {View.DATE_CODE: tmp_path / "date-code.png", View.LOGO: tmp_path / "LOGO.JPG"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "no photographs; expected files named by view"),
        (("front.jpg",), "'front' is no view; expected one of exterior, logo"),
        (("logo.jpg", "logo.png"), "logo.jpg and logo.png are of one view"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, names: tuple[str, ...], message: str):
    for name in names:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(Refusal, match=message):
        views_in(tmp_path)


def test_a_folder_without_objects_is_refused(tmp_path: Path):
    with pytest.raises(Refusal, match="no folders in it; expected one an object"):
        list(objects_in(tmp_path))
    with pytest.raises(Refusal, match="is no folder"):
        list(objects_in(tmp_path / "absent"))
