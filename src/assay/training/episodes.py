"""Photographs on the device, and the tasks that training poses: a bank of genuine photos, and photos to judge by it."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from assay.networks.photo import GRID, MEAN, PHOTO_PX, STD
from assay.training.drawing import MASK_PX, Batch, Studio
from assay.training.nuisance import photographed, restyled
from assay.views import VIEWS


class Layout(NamedTuple):
    """Photos of one view of one style: genuine ones first, then altered ones."""

    genuine: int
    altered: int

    @property
    def total(self) -> int:
        return self.genuine + self.altered


class Task(NamedTuple):
    """How many photos one task takes: genuine ones for the bank, then genuine and altered ones to judge."""

    bank: int = 6
    genuine: int = 3
    altered: int = 3

    @property
    def total(self) -> int:
        return sum(self)


class Episode(NamedTuple):
    """T tasks, photos [T * task.total] task by task, each in the order bank, genuine, altered."""

    photos: Tensor  # f32[N, 3, 320, 320], normalised
    altered: Tensor  # f32[N, 40, 40]: share of each place
    view: Tensor  # i64[N]
    style: Tensor  # i64[N]: the album's slot
    task: Tensor  # i64[N]


class Album:
    """The drawn styles, on the device."""

    def __init__(self, slots: int, layout: Layout, device: torch.device) -> None:
        rows = len(VIEWS) * layout.total
        self.layout, self.device = layout, device
        self.photos = torch.empty((slots, rows, PHOTO_PX, PHOTO_PX, 3), dtype=torch.uint8, device=device)
        self.altered = torch.empty((slots, rows, MASK_PX, MASK_PX), dtype=torch.uint8, device=device)
        self.ready: list[int] = []

    def fill(self, studio: Studio) -> None:
        """Takes what the studio has finished."""
        for batch in studio.take():
            self._paste(batch, studio)

    def begin(self, studio: Studio, styles: int) -> None:
        """Waits for the first styles."""
        for batch in islice(studio.wait(), styles):
            self._paste(batch, studio)

    def _paste(self, batch: Batch, studio: Studio) -> None:
        self.photos[batch.slot] = torch.from_numpy(studio.photos[batch.slot]).to(self.device)
        self.altered[batch.slot] = torch.from_numpy(studio.altered[batch.slot]).to(self.device)
        self.ready.append(batch.slot)

    def episode(self, tasks: int, task: Task) -> Episode:
        """So many tasks, each of another style or view, photographed anew."""
        pairs = torch.randperm(len(self.ready) * len(VIEWS))[:tasks]
        slots = torch.tensor(self.ready)[pairs // len(VIEWS)]
        views = pairs % len(VIEWS)
        rows = torch.stack([self._rows(task) for _ in range(len(pairs))]) + views[:, None] * self.layout.total
        slots, views = (x.repeat_interleave(task.total).to(self.device) for x in (slots, views))
        rows = rows.flatten().to(self.device)
        numbers = torch.arange(len(pairs), device=self.device).repeat_interleave(task.total)
        photos, altered = self._photographed(slots, rows, task.total)
        return Episode(photos, altered, views, slots, numbers)

    def _rows(self, task: Task) -> Tensor:
        genuine = torch.randperm(self.layout.genuine)[: task.bank + task.genuine]
        altered = self.layout.genuine + torch.randperm(self.layout.altered)[: task.altered]
        return torch.cat([genuine, altered])

    def _photographed(self, slots: Tensor, rows: Tensor, group: int) -> tuple[Tensor, Tensor]:
        photos = self.photos[slots, rows].permute(0, 3, 1, 2).float() / 255
        altered = self.altered[slots, rows].float()[:, None] / 255
        photos, altered = photographed(*restyled(photos, altered, group))
        shares = functional.adaptive_avg_pool2d(altered, GRID)[:, 0]
        return (photos * (255 / STD) - MEAN / STD).contiguous(memory_format=torch.channels_last), shares
