"""The networks that are compared, as engines: each in a folder of its own, named after what is in it."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from assay.cases import Claim
from assay.networks.untrained import write_untrained
from assay.packing import pack
from assay.references.files import FileReferences

MODELS = Path(__file__).parents[2] / "models" / "assay"
UNTRAINED_SEED = 7


@dataclass(frozen=True)
class Home:
    """Where the engines of one network and all that was found with them lie."""

    folder: Path

    @property
    def engines(self) -> Path:
        return self.folder / "engines"

    @property
    def references(self) -> Path:
        return self.folder / "references"

    def enrolled(self) -> set[Claim]:
        return set(FileReferences(self.references).models())


def product(work: Path) -> Home:
    """The networks that Assay ships."""
    return _packed(work, "product", MODELS / "photo.onnx")


def raw(work: Path) -> Home:
    """The backbone that learned styles and views, and nothing of alterations."""
    return _packed(work, "raw", MODELS / "raw.onnx")


def untrained(work: Path) -> Home:
    """The photo network with random weights."""
    models = work / "untrained"
    write_untrained(models, UNTRAINED_SEED)
    return _packed(work, "untrained", models / "photo.onnx")


def classifier(work: Path) -> Home:
    """The supervised classifier, as ``engines/classifier.fusee``."""
    source = MODELS / "classifier.onnx"
    home = _home(work, "classifier", source)
    pack(MODELS, home.engines, ("classifier",))
    return home


def _packed(work: Path, name: str, photo: Path) -> Home:
    """``photo`` in the place of the photo network, beside the compare network, which has no weights."""
    home = _home(work, name, photo)
    models = home.folder / "models"
    models.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(photo, models / "photo.onnx")
    shutil.copyfile(MODELS / "compare.onnx", models / "compare.onnx")
    pack(models, home.engines)
    return home


def _home(work: Path, name: str, source: Path) -> Home:
    return Home(work / f"{name}-{digest(source)[:12]}")


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
