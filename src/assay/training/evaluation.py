"""How well held-out styles are told apart: enrol genuine photos, then judge whole cases that nobody trained on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from assay.networks.photo import GRID
from assay.training.drawing import MASK_PX, Batch
from assay.training.objective import smooth_maximum, smoothed
from assay.views import VIEWS, View

BANK_ROWS = 2048
LEAST_DEVIATION = 0.1  # of genuine scores, as a share of their mean: sixteen photos say little of a small one
BATCH = 64
Floats = npt.NDArray[np.float64]


class Cases(NamedTuple):
    """How many items are enrolled and judged, in the order of a slot's rows; each has a row for every view."""

    enrolled: int = 16
    genuine: int = 10
    altered: int = 10

    @property
    def rows(self) -> int:
        return sum(self) * len(VIEWS)


class Photo(NamedTuple):
    """One judged photo."""

    case: int
    view: View
    defect: str  # "" where nothing is altered
    score: float  # in standard deviations of the enrolled photos' scores
    hit: bool  # the map peaks where something is altered, or in a place beside
    altered_share: float  # of the photo, one place around included: how often chance hits


@dataclass
class Tally:
    """What was found over all styles."""

    photos: list[Photo] = field(default_factory=list[Photo])
    own: list[float] = field(default_factory=list[float])  # case similarity to the claimed style, where it is right
    other: list[float] = field(default_factory=list[float])  # and to some other style
    right_views: int = 0


class Judged(NamedTuple):
    """All photos of one style: scores f64[items, views], and maps [items, views, 40, 40] of the judged items."""

    scores: Floats
    maps: Tensor


def auroc(negative: Iterable[float], positive: Iterable[float]) -> float:
    """The probability that a positive scores above a negative, ties counting half."""
    low, high = np.sort(np.fromiter(negative, np.float64)), np.fromiter(positive, np.float64)
    below = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")
    return float(below.mean() / (2 * len(low))) if len(low) and len(high) else float("nan")


@torch.no_grad()
def coreset(rows: Tensor, count: int) -> Tensor:
    """Rows [V, M, C] -> indices [V, count] of rows each of which is farthest from those before it.

    Greedy k-centre, as PatchCore reduces its bank, for several banks at a time.
    """
    banks = torch.arange(len(rows), device=rows.device)
    chosen = torch.zeros(len(rows), count, dtype=torch.long, device=rows.device)
    nearest = (rows @ rows[:, 0, :, None])[..., 0]
    for i in range(1, count):
        chosen[:, i] = nearest.argmin(1)
        nearest = torch.maximum(nearest, (rows @ rows[banks, chosen[:, i]][..., None])[..., 0])
    return chosen


@torch.no_grad()
def judge_by_bank(patches: Tensor, cases: Cases) -> Judged:
    """patches [items, views, 1600, C]. Enrolled photos are judged by the bank without their own rows."""
    places = patches.shape[2]
    rows = patches[: cases.enrolled].float().transpose(0, 1).flatten(1, 2)
    kept = coreset(rows, min(BANK_ROWS, rows.shape[1]))
    bank, owner = rows.gather(1, kept[:, :, None].expand(-1, -1, rows.shape[2])), kept // places
    grids: list[Tensor] = []
    for item, queries in enumerate(patches):
        cosines = queries.float() @ bank.transpose(1, 2)
        if item < cases.enrolled:
            cosines = cosines.masked_fill((owner == item)[:, None], -1)
        grids.append(smoothed(1 - cosines.amax(2)))
    scores = torch.stack([smooth_maximum(grid) for grid in grids]).double().cpu().numpy()
    return Judged(standardised(scores, cases), torch.stack(grids[cases.enrolled :]))


def standardised(scores: Floats, cases: Cases) -> Floats:
    """Scores of the judged items in standard deviations of the enrolled ones', view by view."""
    enrolled = scores[: cases.enrolled]
    mean = enrolled.mean(0)
    deviation = np.maximum(enrolled.std(0, ddof=1), LEAST_DEVIATION * np.abs(mean))
    return (scores[cases.enrolled :] - mean) / deviation


def by_photos(see: Callable[[Tensor], Sequence[Tensor]], photos: Tensor) -> list[Tensor]:
    """What ``see`` gives for photos u8[N, 320, 320, 3], in batches."""
    with torch.no_grad(), torch.autocast(photos.device.type, torch.bfloat16, enabled=photos.is_cuda):
        parts = [see(part) for part in photos.split(BATCH)]
    return [torch.cat([part[i] for part in parts]) for i in range(len(parts[0]))]


def count_photos(tally: Tally, judged: Judged, altered: Tensor, batch: Batch, cases: Cases) -> None:
    """Adds one style's photos; ``altered`` u8[rows, 80, 80] as it was drawn."""
    first = tally.photos[-1].case + 1 if tally.photos else 0
    masks = altered.float()[:, None] / 255
    wide = functional.max_pool2d(masks, 5, 1, 2)[:, 0]  # two of 80: a place of the grid around
    for item in range(cases.genuine + cases.altered):
        for v, view in enumerate(VIEWS):
            row = (cases.enrolled + item) * len(VIEWS) + v
            y, x = divmod(int(judged.maps[item, v].argmax()), GRID)
            scale = MASK_PX // GRID
            hit = bool((wide[row, y * scale : (y + 1) * scale, x * scale : (x + 1) * scale] > 0).any())
            defect = "+".join(d.name for d in batch.defects[row])
            share = float((wide[row] > 0).float().mean())
            tally.photos.append(Photo(first + item, view, defect, float(judged.scores[item, v]), hit, share))


def count_styles(tally: Tally, embeddings: Sequence[Tensor], cases: Cases) -> None:
    """embeddings: per style [items, views, C]. A genuine case is compared with its own style and with the next."""
    for i, mine in enumerate(embeddings):
        judged = mine[cases.enrolled : cases.enrolled + cases.genuine].float()
        for style, similarities in ((mine, tally.own), (embeddings[(i + 1) % len(embeddings)], tally.other)):
            enrolled = style[: cases.enrolled].float()
            cosines = torch.einsum("ivc,evc->ive", judged, enrolled).amax(2)
            similarities += cosines.mean(1).tolist()


def report(tally: Tally) -> dict[str, float]:
    """The figures, by name."""
    photos = tally.photos
    altered = [p for p in photos if p.defect]
    worst: dict[int, float] = defaultdict(lambda: -np.inf)
    for p in photos:
        worst[p.case] = max(worst[p.case], p.score)
    bad = {p.case for p in altered}
    figures = {
        "cases": len(worst),
        "case auroc": auroc((s for c, s in worst.items() if c not in bad), (s for c, s in worst.items() if c in bad)),
        "photo auroc": auroc((p.score for p in photos if not p.defect), (p.score for p in altered)),
        "pointing": float(np.mean([p.hit for p in altered])),
        "pointing by chance": float(np.mean([p.altered_share for p in altered])),
    }
    if tally.own:
        figures["unknown style auroc"] = auroc(tally.other, tally.own)
        figures["view accuracy"] = tally.right_views / len(photos)
    return figures


def table(tally: Tally) -> str:
    """A line for each defect: photos, AUROC against genuine photos of the view, pointing, and pointing by chance."""
    lines = [f"{'defect':<22}{'view':<11}{'photos':>7}{'auroc':>8}{'pointing':>10}{'chance':>8}"]
    groups: dict[tuple[str, str], list[Photo]] = defaultdict(list)
    for p in tally.photos:
        for name in p.defect.split("+") if p.defect else ():
            groups[p.view.value, name].append(p)
    for (view, name), mine in sorted(groups.items()):
        good = (p.score for p in tally.photos if p.view.value == view and not p.defect)
        hits, chance = np.mean([p.hit for p in mine]), np.mean([p.altered_share for p in mine])
        figures = f"{auroc(good, (p.score for p in mine)):>8.3f}{hits:>10.3f}{chance:>8.3f}"
        lines.append(f"{name:<22}{view:<11}{len(mine):>7}{figures}")
    return "\n".join(lines)
