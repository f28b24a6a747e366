"""The three ways a backbone is trained: by episodes (the product), and two baselines that evaluation compares with."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from assay.networks.photo import WIDE
from assay.training.backbone import PhotoNetwork, Seen
from assay.training.episodes import Album, Episode, Task
from assay.training.objective import (
    Verdicts,
    contrastive_loss,
    nearest_distances,
    place_loss,
    rank_loss,
    smooth_maximum,
    smoothed,
)
from assay.views import VIEWS

LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.02
WARM_UP = 0.03  # share of the time
MOMENTUM = 0.999  # of the averaged weights, which are the result
BANK_ROWS = 3072  # of a task's bank, drawn anew at every step: about as dense as a reference bank is


class Loss(NamedTuple):
    """The sum that is minimised, and its parts for the log."""

    total: Tensor
    parts: dict[str, Tensor]


class Recipe(Protocol):
    """What is trained, and by which loss."""

    task: Task

    def modules(self) -> nn.ModuleDict: ...

    def loss(self, modules: nn.ModuleDict, episode: Episode) -> Loss: ...


def _weighed(**parts: tuple[float, Tensor]) -> Loss:
    total = torch.stack([weight * loss for weight, loss in parts.values()]).sum()
    return Loss(total, {name: loss.detach() for name, (_, loss) in parts.items()})


class Episodic:
    """One-class training: every place of a photo is judged by its distance to the bank of its own task."""

    def __init__(self, task: Task | None = None) -> None:
        self.task = task or Task()

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"network": PhotoNetwork(), "verdicts": Verdicts()})

    def loss(self, modules: nn.ModuleDict, episode: Episode) -> Loss:
        seen: Seen = modules["network"](episode.photos)
        verdicts = modules["verdicts"]
        assert isinstance(verdicts, Verdicts)
        grid = self._distances(seen.patches)
        altered = episode.altered.unflatten(0, (-1, self.task.total))[:, self.task.bank :].flatten(0, 1)
        odds = verdicts.photos(smooth_maximum(grid)).unflatten(0, (-1, self.task.genuine + self.task.altered))
        is_altered = (altered.flatten(1).amax(1) > 0).view_as(odds)
        return _weighed(
            place=(1.0, place_loss(verdicts.places(grid), altered)),
            photo=(0.5, functional.binary_cross_entropy_with_logits(odds, is_altered.float())),
            rank=(0.5, rank_loss(odds, is_altered)),
            view=(0.1, functional.cross_entropy(seen.view_logit, episode.view)),
            style=(0.2, contrastive_loss(seen.embedding, episode.task)),
        )

    def _distances(self, patches: Tensor) -> Tensor:
        by_task = patches.unflatten(0, (-1, self.task.total))
        bank = by_task[:, : self.task.bank].flatten(1, 2)
        rows = torch.randperm(bank.shape[1], device=bank.device)[:BANK_ROWS]
        queries = by_task[:, self.task.bank :]
        with torch.autocast(patches.device.type, enabled=False):
            return smoothed(nearest_distances(queries.flatten(1, 2), bank[:, rows]).reshape(-1, patches.shape[1]))


class Classes:
    """The plain backbone: it learns views and styles from genuine photos, and nothing of alterations."""

    def __init__(self, slots: int) -> None:
        self.task = Task(4, 0, 0)
        self._classes = slots * len(VIEWS)

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"network": PhotoNetwork(), "styles": nn.Linear(WIDE, self._classes)})

    def loss(self, modules: nn.ModuleDict, episode: Episode) -> Loss:
        seen: Seen = modules["network"](episode.photos)
        style = modules["styles"](seen.features.float().mean((2, 3)))
        return _weighed(
            view=(0.2, functional.cross_entropy(seen.view_logit, episode.view)),
            class_=(1.0, functional.cross_entropy(style, episode.style * len(VIEWS) + episode.view)),
            style=(0.2, contrastive_loss(seen.embedding, episode.task)),
        )


class Supervised:
    """The classifier: genuine or altered, from the photo alone. Its logit is a mean over places, which is its map."""

    def __init__(self) -> None:
        self.task = Task(0, 4, 4)

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"network": PhotoNetwork(), "altered": nn.Linear(WIDE, 1)})

    def loss(self, modules: nn.ModuleDict, episode: Episode) -> Loss:
        seen: Seen = modules["network"](episode.photos)
        odds = modules["altered"](seen.features.float().mean((2, 3)))[:, 0]
        is_altered = (episode.altered.flatten(1).amax(1) > 0).float()
        return _weighed(
            photo=(1.0, functional.binary_cross_entropy_with_logits(odds, is_altered)),
            view=(0.1, functional.cross_entropy(seen.view_logit, episode.view)),
        )


def learn(
    recipe: Recipe,
    episodes: Iterator[Episode],
    seconds: float,
    log: Callable[[str], None],
    device: torch.device,
    learning_rate: float = LEARNING_RATE,
) -> nn.ModuleDict:
    """Trains for that long, a step at least, and gives the averaged weights, in evaluation mode."""
    modules = recipe.modules().to(device)
    average = copy.deepcopy(modules)
    optimiser = torch.optim.AdamW(modules.parameters(), lr=learning_rate, weight_decay=WEIGHT_DECAY)
    clock = _Clock(seconds, log)
    for step, episode in enumerate(episodes):
        share = min(clock.share(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * _rate(share)
        loss = _step(recipe, modules, episode, optimiser, device)
        _follow(average, modules, min(MOMENTUM, (1 + step) / (10 + step)))
        clock.tell(step, loss)
        if share == 1.0:
            break
    return average.eval()


def _step(
    recipe: Recipe, modules: nn.ModuleDict, episode: Episode, optimiser: torch.optim.Optimizer, device: torch.device
) -> Loss:
    optimiser.zero_grad(set_to_none=True)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        loss = recipe.loss(modules, episode)
    loss.total.backward()
    nn.utils.clip_grad_norm_(modules.parameters(), 1.0)
    optimiser.step()
    return loss


def _rate(share: float) -> float:
    """Of the full learning rate: a warm-up, then half a cosine."""
    return min(share / WARM_UP, 1.0) * 0.5 * (1 + math.cos(math.pi * share)) + 1e-3


@torch.no_grad()
def _follow(average: nn.ModuleDict, modules: nn.ModuleDict, momentum: float) -> None:
    for followed, leading in zip(average.state_dict().values(), modules.state_dict().values(), strict=True):
        if followed.is_floating_point():
            followed.lerp_(leading, 1 - momentum)


class _Clock:
    """Time against its limit, and a line in the log now and then."""

    def __init__(self, seconds: float, log: Callable[[str], None], every: int = 100) -> None:
        self._start, self._seconds, self._log, self._every = perf_counter(), seconds, log, every

    def share(self) -> float:
        return (perf_counter() - self._start) / self._seconds

    def tell(self, step: int, loss: Loss) -> None:
        if step % self._every:
            return
        parts = "  ".join(f"{name} {float(value):.4f}" for name, value in loss.parts.items())
        self._log(f"step {step:5d}  {perf_counter() - self._start:6.1f} s  {parts}")


def episodes(album: Album, refill: Callable[[], None], tasks: int, task: Task) -> Iterator[Episode]:
    """Episodes without end, from whatever is drawn by then."""
    while True:
        refill()
        yield album.episode(tasks, task)
