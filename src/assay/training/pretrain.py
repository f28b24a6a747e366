"""Trains the networks of models/assay on synthetic photographs, and measures them on styles that it never saw.

    python -m assay.training.pretrain --out models/assay

The training takes the minutes it is given, so that a machine that is lent for a while is used to the end; styles are
drawn while it runs. Needs torch; a GPU for anything but a trial.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import cast

import onnx
import torch
from torch import Tensor, nn

from assay.networks.classifier import classifier_network
from assay.networks.compare import compare_network
from assay.networks.graph import Array
from assay.networks.photo import photo_network
from assay.networks.untrained import narrowed
from assay.training import evaluation, learning
from assay.training.backbone import PhotoNetwork, exported
from assay.training.drawing import Studio, case_orders, training_orders
from assay.training.episodes import Album, Layout, Task
from assay.training.evaluation import Cases, Judged, Tally
from assay.views import VIEWS

FIRST_HELD_OUT = 10_000  # seed of the first style that is only judged


@dataclass(frozen=True)
class Settings:
    """One training. Minutes of 0 leave a network out."""

    out: Path
    styles: int
    first_styles: int  # that are drawn before training starts
    held_out: int
    genuine: int  # photos of each view and style
    altered: int
    size_px: int  # of held-out photographs
    tasks: int  # in a step
    photo_minutes: float
    classifier_minutes: float
    raw_minutes: float
    workers: int
    seed: int


class Log:
    """Lines to the screen and to a file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w")
        self._start = perf_counter()

    def __call__(self, line: str) -> None:
        stamped = f"[{perf_counter() - self._start:6.1f} s] {line}"
        print(stamped, flush=True)
        self._file.write(stamped + "\n")
        self._file.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains, measures, and writes the networks, ``figures.json`` and ``training.log``."""
    settings = _settings(arguments)
    settings.out.mkdir(parents=True, exist_ok=True)
    log = Log(settings.out / "training.log")
    torch.manual_seed(settings.seed)
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    log(f"{settings} on {torch.cuda.get_device_name() if device.type == 'cuda' else 'the CPU'}")
    networks = _train(settings, log, device)
    onnx.save(compare_network(), settings.out / "compare.onnx")
    figures = _measure(settings, networks, log, device)
    (settings.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")


def _settings(arguments: Sequence[str] | None) -> Settings:
    parser = argparse.ArgumentParser(prog="python -m assay.training.pretrain", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    defaults = {"styles": 1200, "first_styles": 40, "held_out": 26, "genuine": 9, "altered": 7}
    defaults |= {"size_px": 576, "tasks": 16, "workers": max(1, (os.cpu_count() or 2) - 1), "seed": 0}
    for name, value in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    for name, value in {"photo_minutes": 9.0, "classifier_minutes": 1.2, "raw_minutes": 0.8}.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value)
    return Settings(**vars(parser.parse_args(arguments)))


def _train(settings: Settings, log: Log, device: torch.device) -> dict[str, nn.ModuleDict]:
    """Trains each network in turn and writes it; all learn from one album, which grows meanwhile."""
    layout = Layout(settings.genuine, settings.altered)
    trained: dict[str, nn.ModuleDict] = {}
    with Studio(settings.styles, layout.total * len(VIEWS), settings.workers) as studio:
        for seed in range(settings.styles):
            studio.order(seed, seed, training_orders(settings.genuine, settings.altered, seed))
        album = Album(settings.styles, layout, device)
        album.begin(studio, settings.first_styles)
        log(f"{len(album.ready)} styles drawn")
        for name, minutes, recipe in _recipes(settings):
            if not minutes:
                continue
            episodes = learning.episodes(album, lambda: album.fill(studio), settings.tasks, recipe.task)
            trained[name] = learning.learn(recipe, episodes, minutes * 60, log, device)
            _write(settings.out, name, trained[name])
            log(f"{name} trained; {len(album.ready)} styles drawn")
    return trained


def _recipes(settings: Settings) -> list[tuple[str, float, learning.Recipe]]:
    return [
        ("raw", settings.raw_minutes, learning.Classes(settings.styles)),
        ("classifier", settings.classifier_minutes, learning.Supervised()),
        ("photo", settings.photo_minutes, learning.Episodic(_task(settings))),
    ]


def _task(settings: Settings) -> Task:
    """The bank takes what the judged genuine photos leave."""
    return Task(min(6, settings.genuine - 3), 3, min(3, settings.altered))


def _write(out: Path, name: str, modules: nn.ModuleDict) -> None:
    weights: dict[str, Array] = exported(cast(PhotoNetwork, modules["network"]))
    if name == "classifier":
        head = cast(nn.Linear, modules["altered"])
        weights["altered.weight"] = head.weight.detach().float().cpu().numpy()[:, :, None, None]
        weights["altered.bias"] = head.bias.detach().float().cpu().numpy()
        onnx.save(classifier_network(narrowed(weights)), out / f"{name}.onnx")
        return
    onnx.save(photo_network(narrowed(weights)), out / f"{name}.onnx")


def _measure(
    settings: Settings, networks: dict[str, nn.ModuleDict], log: Log, device: torch.device
) -> dict[str, dict[str, float]]:
    """All networks on the same cases of held-out styles."""
    cases = Cases()
    tallies = {name: Tally() for name in networks}
    embeddings: dict[str, list[Tensor]] = {name: [] for name in networks}
    with Studio(settings.held_out, cases.rows, settings.workers) as studio:
        for slot in range(settings.held_out):
            seed = FIRST_HELD_OUT + slot
            items = [(seed * sum(cases) + k, k < cases.enrolled + cases.genuine) for k in range(sum(cases))]
            studio.order(slot, seed, case_orders(items, seed, settings.size_px))
        for batch in studio.wait():
            photos = torch.from_numpy(studio.photos[batch.slot]).to(device)
            altered = torch.from_numpy(studio.altered[batch.slot]).to(device)
            for name, modules in networks.items():
                judged = _judged(name, modules, photos, cases, tallies[name], embeddings[name])
                evaluation.count_photos(tallies[name], judged, altered, batch, cases)
    for name, tally in tallies.items():
        evaluation.count_styles(tally, embeddings[name], cases)
        log(f"{name} on held-out styles\n{evaluation.table(tally)}")
    figures = {name: evaluation.report(tally) for name, tally in tallies.items()}
    for name, found in figures.items():
        log(f"{name:<12}" + "  ".join(f"{key} {value:.4f}" for key, value in found.items()))
    return figures


def _judged(
    name: str, modules: nn.ModuleDict, photos: Tensor, cases: Cases, tally: Tally, embeddings: list[Tensor]
) -> Judged:
    network = cast(PhotoNetwork, modules["network"])
    shape = (-1, len(VIEWS))
    if name == "classifier":
        heat, score = evaluation.by_photos(_classify(modules), photos)
        scores = score.double().cpu().numpy().reshape(shape)
        return Judged(scores[cases.enrolled :], heat.unflatten(0, shape)[cases.enrolled :])
    patches, embedding, view_logit = evaluation.by_photos(lambda part: network(part)[1:], photos)
    embeddings.append(embedding.unflatten(0, shape))
    right = view_logit.unflatten(0, shape).argmax(2) == torch.arange(len(VIEWS), device=photos.device)
    tally.right_views += int(right[cases.enrolled :].sum())
    return evaluation.judge_by_bank(patches.unflatten(0, shape), cases)


def _classify(modules: nn.ModuleDict) -> Callable[[Tensor], Sequence[Tensor]]:
    """The classifier's map and its mean, of which the photo's score consists."""
    head = cast(nn.Linear, modules["altered"])

    def classify(photos: Tensor) -> Sequence[Tensor]:
        heat = torch.einsum("nchw,c->nhw", modules["network"](photos).features.float(), head.weight[0])
        return heat, heat.mean((1, 2)) + head.bias

    return classify


if __name__ == "__main__":
    main()
