"""Draws synthetic photographs on all cores into memory that the trainer reads while more are drawn."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Iterator, Sequence
from multiprocessing.pool import AsyncResult
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from assay.networks.photo import PHOTO_PX
from assay.synthetic import Defect, counterfeit, draw_style, encode, genuine, photograph
from assay.training.folder import STEPS
from assay.views import VIEWS, View
from fusee.images import open_encoded, read_into

STRENGTHS = (0.7, 1.2)  # of the defects that are trained on
SIZES_PX, SIZE_SHARES = (400, 448, 640), (0.4, 0.4, 0.2)  # photographs of several sizes are made small
MASK_PX = 80  # what is kept of where a photo was altered: finer than the grid, so that it can still be moved
Pixels: TypeAlias = npt.NDArray[np.uint8]


class Order(NamedTuple):
    """One photograph to draw. ``defects``: () for a genuine item, None for a counterfeit's own choice."""

    item_seed: int
    view: View
    camera_seed: int
    defects: tuple[Defect, ...] | None = ()
    strength: float = 1.0
    size_px: int = 448


class Picture(NamedTuple):
    """A drawn photograph as the networks get it."""

    pixels: Pixels  # u8[320, 320, 3]
    altered: Pixels  # u8[80, 80]: share of each place that was altered, of 255
    defects: tuple[Defect, ...]


class Batch(NamedTuple):
    """The photographs of one style, in the order of their orders."""

    slot: int
    defects: list[tuple[Defect, ...]]


def draw(style_seed: int, order: Order) -> Picture:
    """Draws, encodes and reads the photograph back, as an uploaded one is."""
    style = draw_style(style_seed)
    if order.defects == ():
        item = genuine(style, order.item_seed)
    else:
        item = counterfeit(style, order.item_seed, order.defects, order.strength)
    shot = photograph(item, order.view, order.camera_seed, size_px=order.size_px)
    pixels = np.empty(STEPS.shape, np.uint8)
    read_into(open_encoded(encode(shot), order.size_px**2), STEPS, pixels)
    altered = Image.fromarray(shot.altered.astype(np.uint8) * 255).resize((MASK_PX, MASK_PX), Image.Resampling.BOX)
    return Picture(pixels, np.asarray(altered), tuple(shot.defects))


def training_orders(genuine_count: int, altered_count: int, seed: int) -> list[Order]:
    """For each view, photos of so many genuine items, then of so many altered ones, all defects of the view in turn."""
    random = np.random.default_rng(seed)
    count = genuine_count + altered_count
    orders: list[Order] = []
    for view in VIEWS:
        kinds = [defect for defect in Defect if defect.view is view]
        for k in range(count):
            defects = () if k < genuine_count else (kinds[(k + seed) % len(kinds)],)
            strength, size_px = float(random.uniform(*STRENGTHS)), int(random.choice(SIZES_PX, p=SIZE_SHARES))
            camera = int(random.integers(2**31))  # items of their own: no two styles have the same tolerances
            orders.append(Order(seed * count + k, view, camera, defects, strength, size_px))
    return orders


def case_orders(items: Sequence[tuple[int, bool]], seed: int, size_px: int) -> list[Order]:
    """For each item (its seed, and whether it is genuine) the six photographs of a case, by cameras of its own."""
    cameras = iter(np.random.default_rng(seed).integers(0, 2**31, len(items) * len(VIEWS)).tolist())
    return [
        Order(item, view, next(cameras), () if good else None, size_px=size_px)
        for item, good in items
        for view in VIEWS
    ]


class Studio:
    """Worker processes that draw whole styles. Use as a context manager; the shared memory goes with it."""

    def __init__(self, slots: int, rows: int, workers: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="assay-", dir=_shared_memory())
        self._pool = multiprocessing.get_context("spawn").Pool(workers)
        folder = Path(self._folder.name)
        self._paths = (str(folder / "photos.npy"), str(folder / "altered.npy"))
        shapes = ((slots, rows, PHOTO_PX, PHOTO_PX, 3), (slots, rows, MASK_PX, MASK_PX))
        self.photos, self.altered = (
            np.lib.format.open_memmap(path, "w+", np.uint8, shape)
            for path, shape in zip(self._paths, shapes, strict=True)
        )
        self._pending: list[AsyncResult[Batch]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self._pool.terminate()
        self._pool.join()
        self._folder.cleanup()

    def order(self, slot: int, style_seed: int, orders: Sequence[Order]) -> None:
        """Draws these photographs of one style into the rows of ``slot``."""
        job = (self._paths, slot, style_seed, tuple(orders))
        self._pending.append(self._pool.apply_async(_draw_slot, job))

    def take(self) -> list[Batch]:
        """The styles that were drawn since the last call. Raises what drawing raised."""
        done = [job for job in self._pending if job.ready()]
        self._pending = [job for job in self._pending if job not in done]
        return [job.get() for job in done]

    def wait(self) -> Iterator[Batch]:
        """The styles that are left, in the order in which they were asked for."""
        while self._pending:
            yield self._pending.pop(0).get()


def _shared_memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _draw_slot(paths: tuple[str, str], slot: int, style_seed: int, orders: tuple[Order, ...]) -> Batch:
    photos, altered = (np.lib.format.open_memmap(path, "r+") for path in paths)
    defects: list[tuple[Defect, ...]] = []
    for row, order in enumerate(orders):
        picture = draw(style_seed, order)
        photos[slot, row], altered[slot, row] = picture.pixels, picture.altered
        defects.append(picture.defects)
    return Batch(slot, defects)
