"""Fine-tunes a backbone on a folder of genuine photographs; the alterations it learns to see are imitated."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from assay.networks.compare import compare_network
from assay.networks.graph import Array
from assay.networks.photo import GRID, MEAN, STD, photo_network
from assay.networks.untrained import narrowed
from assay.networks.vit import vit_network
from assay.training.backbone import PhotoNetwork, exported, restored
from assay.training.drawing import MASK_PX
from assay.training.episodes import Episode, Task
from assay.training.folder import PhotoFolder
from assay.training.imitation import altered_in_a_place
from assay.training.learning import Episodic, learn
from assay.training.nuisance import photographed
from assay.training.objective import Verdicts
from assay.training.vit import VitNetwork, exported_vit
from assay.views import VIEWS

TASK = Task(4, 2, 2)
TASKS = 4  # in a step; fewer where the folder has fewer models and views
LEARNING_RATE = 3e-4


class FineTuning(Episodic):
    """Goes on from trained weights; normalisations stay as they are, since a few models say little of their own."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        super().__init__(TASK)
        self._weights = weights

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"network": restored(self._weights), "verdicts": Verdicts()}).eval()


class VitTraining(Episodic):
    """Begins a transformer from nothing."""

    def __init__(self) -> None:
        super().__init__(TASK)

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"network": VitNetwork(), "verdicts": Verdicts()})


class FolderEpisodes:
    """Tasks from a folder: two items of a model's view, and alterations of them, judged by the other items."""

    def __init__(self, folder: PhotoFolder, device: torch.device) -> None:
        self._photos = torch.from_numpy(folder.pixels).to(device)
        self._groups = folder.groups
        self._device = device

    def __iter__(self) -> Iterator[Episode]:
        while True:
            yield self._episode()

    def _episode(self) -> Episode:
        chosen = torch.randperm(len(self._groups))[:TASKS].tolist()
        rows = torch.cat([self._rows(self._groups[i].rows) for i in chosen])
        views = torch.tensor([VIEWS.index(self._groups[i].view) for i in chosen])
        numbers, styles = torch.arange(len(chosen)), torch.tensor(chosen)
        view, style, task = (x.repeat_interleave(TASK.total).to(self._device) for x in (views, styles, numbers))
        photos = self._photos[rows.to(self._device)].permute(0, 3, 1, 2).float() / 255
        photos, altered = photographed(*self._with_alterations(photos))
        shares = functional.adaptive_avg_pool2d(altered, GRID)[:, 0]
        normal = (photos * (255 / STD) - MEAN / STD).contiguous(memory_format=torch.channels_last)
        return Episode(normal, shares, view, style, task)

    @staticmethod
    def _rows(group: tuple[int, ...]) -> Tensor:
        """Bank, genuine, altered: the judged photos are no part of the bank, which repeats some where items are few."""
        order = torch.tensor(group)[torch.randperm(len(group))]
        judged, others = order[: TASK.genuine], order[TASK.genuine :]
        bank = others[torch.arange(TASK.bank) % len(others)]
        return torch.cat([bank, judged, judged[torch.arange(TASK.altered) % len(judged)]])

    @staticmethod
    def _with_alterations(photos: Tensor) -> tuple[Tensor, Tensor]:
        is_altered = torch.arange(len(photos), device=photos.device) % TASK.total >= TASK.bank + TASK.genuine
        shares = torch.zeros(len(photos), 1, MASK_PX, MASK_PX, device=photos.device)
        photos[is_altered], shares[is_altered] = altered_in_a_place(photos[is_altered])
        return photos, shares


def fine_tune(
    folder: PhotoFolder,
    out: Path,
    weights: Mapping[str, Array] | None,
    minutes: float,
    device_name: str | None,
    seed: int,
    log: Callable[[str], None],
) -> None:
    """Writes ``photo.onnx``, ``compare.onnx`` and ``training.json``. Without weights a transformer is trained anew."""
    torch.manual_seed(seed)
    device = torch.device(device_name or ("cuda" if torch.cuda.is_available() else "cpu"))
    recipe = VitTraining() if weights is None else FineTuning(weights)
    rate = {} if weights is None else {"learning_rate": LEARNING_RATE}
    modules = learn(recipe, iter(FolderEpisodes(folder, device)), minutes * 60, log, device, **rate)
    out.mkdir(parents=True, exist_ok=True)
    onnx.save(_network(modules["network"]), out / "photo.onnx")
    onnx.save(compare_network(), out / "compare.onnx")
    groups = [f"{g.brand}/{g.model}/{g.view.value}: {len(g.rows)} photos" for g in folder.groups]
    record = {"groups": groups, "minutes": minutes, "device": device.type, "seed": seed}
    (out / "training.json").write_text(json.dumps(record, indent=1) + "\n")


def _network(module: nn.Module) -> onnx.ModelProto:
    if isinstance(module, VitNetwork):
        return vit_network(narrowed(exported_vit(module)))
    assert isinstance(module, PhotoNetwork)
    return photo_network(narrowed(exported(module)))
