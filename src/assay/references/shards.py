"""Files named after their content: written whole or not at all, checked when they are read."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np

from assay.errors import Refusal, unavailable
from assay.references.content import sha256
from assay.vision.lens import Floats
from fusee.base.files import sync_folder

_SHA256 = re.compile("[0-9a-f]{64}")


class Shards:
    """A folder of ``<sha256><suffix>``. Several processes may write and read it."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self._folder = folder
        self._suffix = suffix
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        return self._folder / f"{digest}{self._suffix}"

    def holds(self, digest: str) -> bool:
        """Any text may be asked for: what is no SHA-256 is no file's name here, nor elsewhere."""
        return _SHA256.fullmatch(digest) is not None and self.path(digest).exists()

    def write(self, content: bytes) -> str:
        """The SHA-256 under which the content lies there, on the disk when this returns."""
        digest = sha256(content)
        path = self.path(digest)
        if path.exists():
            return digest
        with NamedTemporaryFile(dir=self._folder, prefix=".new-", delete=False) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(path)
        sync_folder(self._folder)
        return digest

    def read(self, digest: str) -> bytes:
        """Raises Refusal UNAVAILABLE when the file is gone or damaged."""
        try:
            content = self.path(digest).read_bytes()
        except FileNotFoundError as err:
            raise self._damaged(digest, "is not there") from err
        if sha256(content) != digest:
            raise self._damaged(digest, f"has SHA-256 {sha256(content)}, expected {digest}")
        return content

    def map(self, digest: str) -> Floats:
        """The array in a .npy file, memory-mapped. Raises Refusal UNAVAILABLE when it is damaged, FileNotFoundError."""
        path = self.path(digest)
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise self._damaged(digest, f"has SHA-256 {found}, expected {digest}")
        return np.load(path, mmap_mode="r", allow_pickle=False)

    def remove(self, digest: str) -> None:
        self.path(digest).unlink(missing_ok=True)

    def _damaged(self, digest: str, what: str) -> Refusal:
        return unavailable(f"{self.path(digest)} {what}; restore it from a backup, or enrol the references again")
