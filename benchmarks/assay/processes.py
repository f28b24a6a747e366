"""The stages' work in processes, each with engines of one thread, opened once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from assay.vision.engines import PHOTO
from benchmarks.assay import heat_checks, records
from benchmarks.assay.baselines import Classifier, score_by_neighbour
from benchmarks.assay.networks import Home
from benchmarks.assay.product_scores import Batch, Instruments, enrol_style, instruments, score_batch

WORKERS = 2
Job = TypeVar("Job")

_its: Instruments
_classifier: Classifier


def for_each(work: Callable[[Job], object], jobs: Sequence[Job], drawn: Path, home: Home) -> Iterator[int]:
    """Does the jobs by one of the functions below, with the engines of ``home``; gives how many are done."""
    if not jobs:
        return
    with get_context("spawn").Pool(WORKERS, _open, (drawn, home)) as pool:
        for done, _ in enumerate(pool.imap_unordered(work, jobs), 1):
            yield done


def _open(drawn: Path, home: Home) -> None:
    global _its, _classifier
    if (home.engines / f"{PHOTO}.fusee").exists():
        _its = instruments(drawn, home)
    else:
        _classifier = Classifier(home, drawn)


def enrol(style_seed: int) -> None:
    enrol_style(_its, style_seed)


def score(batch: Batch) -> None:
    """By Assay."""
    records.write(batch.file, score_batch(_its, batch))


def compare_whole(batch: Batch) -> None:
    """By the nearest neighbour of whole photographs."""
    records.write(batch.file, score_by_neighbour(_its, batch))


def classify(batch: Batch) -> None:
    records.write(batch.file, _classifier.score(batch))


def repair(batch: Batch) -> None:
    heat_checks.write(batch.file, heat_checks.repairs(_its, batch))
