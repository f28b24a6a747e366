"""System shared-memory regions of the protocol's extension: registered by clients, read and written in their place.

A region is a file of /dev/shm that a client made, named by a key. Who may register can make the server read and write
that file, so the door is narrow: off unless a prefix is set, keys are one path component that begins with the prefix,
links are not followed, the file is a regular one of an allowed owner. The server's own memory has no name there.

Tensors are copied with pread and pwrite rather than mapped. A client may truncate its file at any time, and a mapping
would then end the server with SIGBUS, however often the size was checked; a read comes back short instead. The copy
also stops a client from changing a tensor after it was checked.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fusee.server.errors import Reason, ServingError, invalid, not_found
from fusee.server.types import Json, Region

FOLDER = Path("/dev/shm")
KEY = re.compile(r"/?([!-.0-~]{1,255})")  # printable ASCII, one path component
REGION_COUNT = 512  # each holds a file open
TOTAL_BYTES = 1 << 38


class _Registered(NamedTuple):
    """A region and its open file."""

    name: str
    key: str
    offset_bytes: int
    size_bytes: int
    fd: int

    def document(self) -> Json:
        return {"name": self.name, "key": self.key, "offset": self.offset_bytes, "byte_size": self.size_bytes}


class SharedMemory:
    """The regions that are registered.

    Keys must begin with ``prefix``, with or without the slash in front; None refuses all of them. Files must belong to
    one of ``owner_uids``, by default the server's own user.
    """

    def __init__(self, prefix: str | None, owner_uids: frozenset[int] | None = None) -> None:
        self._prefix = None if prefix is None else prefix.removeprefix("/")
        self._owner_uids = frozenset({os.geteuid()}) if owner_uids is None else owner_uids
        self._regions: dict[str, _Registered] = {}

    def register(self, name: str, key: str, offset_bytes: int, size_bytes: int) -> None:
        """Open the region of that key under that name.

        Raises ServingError: UNSUPPORTED when shared memory is off, FORBIDDEN for a key or file that is not allowed,
        ALREADY_EXISTS for a name in use, OVERLOADED beyond the limits, INVALID for what else is wrong.
        """
        file_name = self._file_name(name, key)
        if not name:
            raise invalid("a shared memory region needs a name")
        if name in self._regions:
            raise ServingError(Reason.ALREADY_EXISTS, f"shared memory region '{name}' already in manager")
        self._check_room(name, size_bytes)
        fd = _opened(key, file_name)
        try:
            self._check_file(name, key, fd, offset_bytes, size_bytes)
        except BaseException:
            os.close(fd)
            raise
        self._regions[name] = _Registered(name, key, offset_bytes, size_bytes, fd)

    def unregister(self, name: str) -> None:
        """Forget that region, or all of them for ''. A name that is not registered is no error, as in Triton."""
        for found in [name] if name else list(self._regions):
            region = self._regions.pop(found, None)
            if region is not None:
                os.close(region.fd)

    def status(self, name: str) -> Json:
        """What is registered under that name, or all of it for ''. Raises ServingError NOT_FOUND."""
        if name and name not in self._regions:
            raise not_found(f"Unable to find system shared memory region: '{name}'")
        found = [self._regions[name]] if name else self._regions.values()
        return {"regions": {region.name: region.document() for region in found}}

    def read(self, place: Region) -> memoryview:
        """A copy of the bytes at that place. Raises ServingError."""
        region = self._checked(place)
        content = np.empty(place.size_bytes, np.uint8).data
        start, done = region.offset_bytes + place.offset_bytes, 0
        while done < place.size_bytes:
            count = os.preadv(region.fd, [content[done:]], start + done)
            if count == 0:
                raise _truncated(region, start + done)
            done += count
        return content

    def write(self, place: Region, content: bytes | bytearray | memoryview) -> None:
        """Put those bytes at the beginning of that place. Raises ServingError."""
        region = self._checked(place)
        left = memoryview(content).cast("B")
        if left.nbytes > place.size_bytes:
            raise invalid(
                f"{left.nbytes} bytes do not fit into the {place.size_bytes} bytes given in shared memory region "
                f"'{region.name}'"
            )
        start = region.offset_bytes + place.offset_bytes
        try:
            while left.nbytes:
                count = os.pwrite(region.fd, left, start)
                start, left = start + count, left[count:]
        except OSError as err:
            raise invalid(f"shared memory region '{region.name}' cannot be written: {err.strerror}") from err

    def _file_name(self, name: str, key: str) -> str:
        """The name of the key's file, if such keys may be registered."""
        if self._prefix is None:
            raise ServingError(
                Reason.UNSUPPORTED,
                f"shared memory region '{name}': shared memory is off; start the server with --shared-memory-prefix, "
                "which the keys of all regions then begin with",
            )
        found = KEY.fullmatch(key)
        if found is None or found[1] in (".", ".."):
            raise invalid(f"Invalid shared memory region: '{key}': expected '/' and a file name of printable ASCII")
        if not found[1].startswith(self._prefix):
            raise ServingError(
                Reason.FORBIDDEN, f"shared memory region '{name}': key '{key}' does not begin with '/{self._prefix}'"
            )
        return found[1]

    def _check_room(self, name: str, size_bytes: int) -> None:
        if len(self._regions) >= REGION_COUNT:
            raise ServingError(
                Reason.OVERLOADED,
                f"shared memory region '{name}': {REGION_COUNT} regions are registered, as many as may be; "
                "unregister some",
            )
        total_bytes = sum(r.size_bytes for r in self._regions.values()) + size_bytes
        if total_bytes > TOTAL_BYTES:
            raise ServingError(
                Reason.OVERLOADED,
                f"shared memory region '{name}': all regions together would have {total_bytes} bytes, at most "
                f"{TOTAL_BYTES} are allowed; unregister some",
            )

    def _check_file(self, name: str, key: str, fd: int, offset_bytes: int, size_bytes: int) -> None:
        file = os.fstat(fd)
        if not stat.S_ISREG(file.st_mode):
            raise ServingError(Reason.FORBIDDEN, f"shared memory region '{name}': '{key}' is no regular file")
        if file.st_uid not in self._owner_uids:
            allowed = ", ".join(map(str, sorted(self._owner_uids)))
            raise ServingError(
                Reason.FORBIDDEN,
                f"shared memory region '{name}': '{key}' belongs to user {file.st_uid}, expected one of {allowed}",
            )
        if offset_bytes < 0 or size_bytes <= 0 or offset_bytes + size_bytes > file.st_size:
            raise invalid(
                f"failed to register shared memory region '{name}': invalid args: {size_bytes} bytes from byte "
                f"{offset_bytes} of '{key}', which has {file.st_size}"
            )

    def _checked(self, place: Region) -> _Registered:
        """The region of that place, which lies within the region and within the file as it is now."""
        region = self._regions.get(place.name)
        if region is None:
            raise not_found(f"Unable to find shared memory region: '{place.name}'")
        if not 0 <= place.offset_bytes < region.size_bytes:
            raise invalid(
                f"Invalid offset for shared memory region: '{region.name}': {place.offset_bytes}, it has "
                f"{region.size_bytes} bytes"
            )
        if not 0 <= place.size_bytes <= region.size_bytes - place.offset_bytes:
            raise invalid(
                f"Invalid offset + byte size for shared memory region: '{region.name}': {place.size_bytes} bytes from "
                f"byte {place.offset_bytes}, it has {region.size_bytes}"
            )
        file_bytes = os.fstat(region.fd).st_size
        if region.offset_bytes + place.offset_bytes + place.size_bytes > file_bytes:
            raise _truncated(region, file_bytes)
        return region


def _opened(key: str, file_name: str) -> int:
    """A descriptor of the key's file; links are not followed, and nothing is waited for."""
    try:
        return os.open(FOLDER / file_name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as err:
        raise invalid(f"Unable to open shared memory region: '{key}': {err.strerror}") from err


def _truncated(region: _Registered, file_bytes: int) -> ServingError:
    return invalid(
        f"shared memory region '{region.name}' was registered up to byte {region.offset_bytes + region.size_bytes} of "
        f"'{region.key}', which was cut to {file_bytes} since"
    )
