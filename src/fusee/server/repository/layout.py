"""What lies in a model repository: which models, which versions of them, and what is not to be touched.

Two forms stand beside each other in a repository::

    resnet.fusee                        a model of one version, 1; resnet.onnx likewise
    faces/config.pbtxt                  Triton's form: configuration (optional), files that it names,
    faces/labels.txt                    and a folder per version
    faces/3/model.fusee                 or model.onnx, pipeline.py; an ensemble's folder holds no file

Names that begin with a dot are not looked at, nor is lost+found, nor are other plain files. Links may point anywhere
inside their repository and nowhere else.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fusee.server.errors import ServingError, invalid

CONFIG_FILE = "config.pbtxt"
MODEL_FILES = ("model.fusee", "model.onnx", "pipeline.py")
SINGLE_FILES = (".fusee", ".onnx")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")
_NOT_MODELS = ("lost+found",)  # the root folder of a Linux volume has it
_MOST_FILES = 10_000  # of one version


@dataclass(frozen=True)
class Source:
    """Where a model lies. ``versions`` maps a version's number to its folder, or to its only file."""

    name: str
    root: Path
    folder: Path
    versions: Mapping[str, Path]

    @property
    def config_path(self) -> Path | None:
        """The model's config.pbtxt, if it has one."""
        path = self.folder / CONFIG_FILE
        return path if self.is_folder and path.exists() else None

    @property
    def is_folder(self) -> bool:
        return self.folder != self.root


class Refusal(NamedTuple):
    """Something in a repository that is no model, and why."""

    name: str
    reason: str


class FileStamp(NamedTuple):
    """What shows that a file changed."""

    path: str
    modified_ns: int
    size_bytes: int
    inode: int


Stamp = tuple[FileStamp, ...]


def check_name(name: str) -> str:
    """The name, if it can be a model's. Raises ServingError."""
    if not _NAME.fullmatch(name):
        raise invalid(
            f"{name[:200]!r} cannot be a model's name: expected 1 to 128 of letters, digits, '.', '_' and '-', the "
            "first no dot"
        )
    return name


def is_version(text: str) -> bool:
    """Whether a folder of that name is a version: a number from 1, without leading zeros."""
    return _VERSION.fullmatch(text) is not None


def inside(root: Path, path: Path) -> Path:
    """Where the path really leads. Raises ServingError when that is outside the repository, or nowhere."""
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as err:
        raise invalid(f"{path.name}: leads nowhere: {_why(err)}") from err
    if not real.is_relative_to(root.resolve()):
        raise invalid(f"{path.name}: leads out of the repository and is not followed; copy the files into {root.name}")
    return real


def member(root: Path, folder: Path, name: str) -> Path:
    """The file of that name in a model's folder. Raises ServingError for a name with a path, or no plain file."""
    if not name or name != os.path.basename(name) or name in (".", ".."):
        raise invalid(f"{name!r} is to be the name of a file in {folder.name}, without a path")
    path = inside(root, folder / name)
    if not path.is_file():
        raise invalid(f"{folder.name}/{name}: is no plain file")
    return path


def find_models(roots: Iterable[Path]) -> dict[str, Source | Refusal]:
    """All models of some repositories by name. A name found twice is refused: nothing says which is meant."""
    found: dict[str, Source | Refusal] = {}
    for root in roots:
        for name, entry in _models_of(root):
            found[name] = _ambiguous(name, found[name], entry) if name in found else entry
    return dict(sorted(found.items()))


def _ambiguous(name: str, first: Source | Refusal, second: Source | Refusal) -> Refusal:
    if isinstance(first, Refusal):
        return first
    places = " and ".join(_place(s) for s in (first, second) if isinstance(s, Source))
    return Refusal(name, f"{name}: there are several models of this name, in {places}; keep one")


def _place(source: Source) -> str:
    only = next(iter(source.versions.values()), source.folder)
    return str(source.folder if source.is_folder else only)


def find_model(roots: Iterable[Path], name: str) -> Source | Refusal | None:
    """The model of that name, looked for without reading the rest of the repositories. Raises ServingError."""
    check_name(name)
    found: Source | Refusal | None = None
    for root in roots:
        for candidate in (name, *(name + suffix for suffix in SINGLE_FILES)):
            if not os.path.lexists(root / candidate):
                continue
            _, entry = _model_at(root, candidate) or (name, None)
            if entry is not None:
                found = entry if found is None else _ambiguous(name, found, entry)
    return found


def _models_of(root: Path) -> list[tuple[str, Source | Refusal]]:
    try:
        names = sorted(os.listdir(root))
    except OSError as err:
        return [(root.name, Refusal(root.name, f"{root}: cannot be read: {_why(err)}"))]
    entries = (_model_at(root, name) for name in names if not name.startswith(".") and name not in _NOT_MODELS)
    return [entry for entry in entries if entry is not None]


def _model_at(root: Path, entry: str) -> tuple[str, Source | Refusal] | None:
    """The model that a directory entry is, under its name; None for a plain file of another kind."""
    path = root / entry
    stem, suffix = os.path.splitext(entry)
    try:
        real = inside(root, path)
        kind = real.stat().st_mode
        if stat.S_ISDIR(kind):
            return check_name(entry), _folder_model(root, path)
        if stat.S_ISREG(kind):
            return (check_name(stem), Source(stem, root, root, {"1": path})) if suffix in SINGLE_FILES else None
        raise invalid(f"{entry}: is neither a folder nor a plain file")
    except ServingError as err:
        return _shown(entry), Refusal(_shown(entry), err.message)
    except OSError as err:
        return _shown(entry), Refusal(_shown(entry), f"{entry}: cannot be read: {_why(err)}")


def _shown(entry: str) -> str:
    """A directory entry as text that can be sent: undecodable bytes are escaped."""
    return entry.encode("utf-8", "backslashreplace").decode()


def _folder_model(root: Path, folder: Path) -> Source:
    versions = {name: folder / name for name in os.listdir(folder) if is_version(name)}
    for path in versions.values():
        if not inside(root, path).is_dir():
            raise invalid(f"{folder.name}/{path.name}: is to be a version's folder, and is none")
    if (folder / CONFIG_FILE).is_symlink():
        inside(root, folder / CONFIG_FILE)
    return Source(folder.name, root, folder, dict(sorted(versions.items(), key=lambda item: int(item[0]))))


def model_file(source: Source, version: str, default: str = "") -> Path | None:
    """The file of a version, None when it has none; ``default`` is the configuration's default_model_filename.

    Raises ServingError when nothing says which of several is meant, or it leads out of the repository.
    """
    place = source.versions[version]
    if not source.is_folder:
        return inside(source.root, place)
    if default:
        return member(source.root, place, default)
    present = [name for name in MODEL_FILES if os.path.lexists(place / name)]
    if len(present) > 1:
        raise invalid(
            f"{source.name}/{version}: has {' and '.join(present)}; keep one, or name it as default_model_filename"
        )
    return member(source.root, place, present[0]) if present else None


def version_stamp(source: Source, version: str) -> Stamp:
    """The state of a version's files. Raises ServingError."""
    place = source.versions[version]
    if not source.is_folder:
        return file_stamps(source.root, [place])
    paths = [Path(folder) / name for folder, _, names in os.walk(place) for name in names if name[0] != "."]
    if len(paths) > _MOST_FILES:
        raise invalid(f"{source.name}/{version}: has {len(paths)} files; at most {_MOST_FILES} are taken")
    return file_stamps(source.root, sorted(p for p in paths if "/." not in str(p.relative_to(place))))


def folder_stamp(source: Source) -> Stamp:
    """The state of the plain files beside the versions but for the configuration: labels. Raises ServingError."""
    if not source.is_folder:
        return ()
    names = sorted(n for n in os.listdir(source.folder) if n[0] != "." and n != CONFIG_FILE)
    return file_stamps(source.root, [source.folder / n for n in names if not (source.folder / n).is_dir()])


def file_stamps(root: Path, paths: Iterable[Path]) -> Stamp:
    """The states of some files. Raises ServingError for one that is no plain file inside the repository."""
    return tuple(_file_stamp(root, path) for path in paths)


def _file_stamp(root: Path, path: Path) -> FileStamp:
    state = inside(root, path).stat()
    if not stat.S_ISREG(state.st_mode):
        raise invalid(f"{path.name}: is no plain file")
    return FileStamp(str(path.relative_to(root)), state.st_mtime_ns, state.st_size, state.st_ino)


def _why(err: Exception) -> str:
    return (err.strerror if isinstance(err, OSError) else None) or str(err)
