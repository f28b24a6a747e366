"""Photographs to train on, from a folder: ``<brand>/<model>/<item>/<view>.jpg``, genuine items only."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assay.networks.photo import PHOTO_PX
from assay.views import VIEWS, View
from fusee.base.errors import FuseeError, RequestError
from fusee.images import ImageSteps, Layout, open_encoded, read_into

STEPS = ImageSteps(PHOTO_PX, PHOTO_PX, layout=Layout.HWC, dtype=np.dtype(np.uint8))
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MOST_PIXELS = 64_000_000
LEAST_ITEMS = 4  # of a model: some to judge, the others to judge them by


class TrainingError(FuseeError):
    """There is nothing to train on, or nothing to train with."""


class Group(NamedTuple):
    """One view of one model: the rows of its photographs, each of another item."""

    brand: str
    model: str
    view: View
    rows: tuple[int, ...]


class PhotoFolder(NamedTuple):
    """All photographs, as the networks get them."""

    pixels: npt.NDArray[np.uint8]  # [photos, 320, 320, 3]
    groups: tuple[Group, ...]


def read_folder(folder: Path) -> PhotoFolder:
    """Reads every photograph. Raises TrainingError naming the file or folder, and what was expected."""
    found: dict[tuple[str, str, View], list[Path]] = defaultdict(list)
    for path in sorted(p for p in folder.glob("*/*/*/*") if p.suffix.lower() in SUFFIXES):
        brand, model = path.parts[-4:-2]
        found[brand, model, _view(path)].append(path)
    if not found:
        raise TrainingError(
            f"{folder}: no photos; expected <brand>/<model>/<item>/<view>.jpg, as acme/tote/0001/logo.jpg"
        )
    paths: list[Path] = []
    groups: list[Group] = []
    for (brand, model, view), mine in found.items():
        if len(mine) < LEAST_ITEMS:
            raise TrainingError(
                f"{folder / brand / model}: {view.value} was photographed of {len(mine)} items; "
                f"expected {LEAST_ITEMS} or more: add items, or remove these photos"
            )
        groups.append(Group(brand, model, view, tuple(range(len(paths), len(paths) + len(mine)))))
        paths += mine
    return PhotoFolder(np.stack([_read(path) for path in paths]), tuple(groups))


def _view(path: Path) -> View:
    if path.stem not in {view.value for view in VIEWS}:
        expected = ", ".join(view.value for view in VIEWS)
        raise TrainingError(f"{path}: {path.stem!r} is no view; expected the file to be named after one of {expected}")
    return View(path.stem)


def _read(path: Path) -> npt.NDArray[np.uint8]:
    pixels = np.empty(STEPS.shape, np.uint8)
    try:
        read_into(open_encoded(path.read_bytes(), MOST_PIXELS), STEPS, pixels)
    except RequestError as err:
        raise TrainingError(f"{path}: {err}") from err
    return pixels
