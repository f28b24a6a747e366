"""Photographs in folders, as people keep them: one folder an object, one file a view."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from assay.errors import invalid
from assay.views import View

ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
VIEW_NAMES = ", ".join(view.value for view in View)


def objects_in(folder: Path) -> Iterator[tuple[str, dict[View, Path]]]:
    """Name and photographs of each object: ``folder/<object>/<view>.jpg``. Raises Refusal INVALID."""
    found = sorted(path for path in _folder(folder).iterdir() if path.is_dir())
    if not found:
        raise invalid(f"{folder}: no folders in it; expected one an object, with photographs named by view in each")
    for path in found:
        yield path.name, views_in(path)


def views_in(folder: Path) -> dict[View, Path]:
    """One object's photographs by view. Raises Refusal INVALID for names of no view and for none at all."""
    files = sorted(path for path in _folder(folder).iterdir() if path.suffix.lower() in ENDINGS)
    if not files:
        raise invalid(f"{folder}: no photographs; expected files named by view ({VIEW_NAMES}), as JPEG, PNG or WebP")
    photos: dict[View, Path] = {}
    for file in files:
        view = _view_of(file)
        if view in photos:
            raise invalid(f"{folder}: {photos[view].name} and {file.name} are of one view; expected one file for each")
        photos[view] = file
    return photos


def _view_of(file: Path) -> View:
    try:
        return View(file.stem.lower().replace("-", "_"))
    except ValueError as err:
        raise invalid(f"{file}: {file.stem!r} is no view; expected one of {VIEW_NAMES}") from err


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise invalid(f"{path} is no folder; expected one with photographs")
    return path
