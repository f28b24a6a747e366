"""One engine in a child process, asked over a pipe: both ends.

Each message is one line of JSON. The child says once what loading took, then answers ``{"run": n}`` with the times of n
runs, ``{"save": path}`` by writing its outputs, and ``{"memory": true}`` with its memory. A child that dies, of an
error or otherwise, or that falls silent, is a PeerFailure that quotes its error stream.
"""

from __future__ import annotations

import gc
import json
import os
import select
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, perf_counter_ns
from typing import IO, Any

import numpy as np

from fusee.peers.table import PEERS, Answer, Arrays

PATIENCE_S = 300.0
"""A child that says nothing for so long has hung."""
LAST_LINES = 3


class PeerFailure(Exception):
    """An engine could not build, load or answer; the message says what it said."""


@dataclass(frozen=True)
class Loading:
    """What it took to get a first answer, the import of the library apart."""

    version: str
    import_s: float
    load_s: float
    """From the file to something that can be asked."""
    first_answer_s: float
    """From the file to the first answer."""


@dataclass(frozen=True)
class Memory:
    """Resident memory of the child in bytes."""

    after_import: int
    now: int
    peak: int


class PeerProcess:
    """The parent's end: a loaded engine that can be asked to run."""

    def __init__(self, peer: str, model: Path, threads: int, inputs: Path) -> None:
        self._name = peer
        self._open = ExitStack()
        self._stderr = self._open.enter_context(tempfile.TemporaryFile("w+"))  # noqa: SIM115 (the stack closes it)
        command = [sys.executable, "-m", "fusee.peers.process", peer, str(model), str(threads), str(inputs)]
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, bufsize=0
        )
        self.loading = Loading(**self._receive())

    def run(self, times: int) -> list[float]:
        """Runs back to back and gives the time of each in microseconds."""
        return self._ask({"run": times})["times_us"]

    def core_s(self) -> float:
        """Core seconds used so far."""
        return process_core_s(self._child.pid)

    def memory(self) -> Memory:
        """What the child holds, and held at most."""
        return Memory(**self._ask({"memory": True}))

    def outputs(self, path: Path) -> dict[str, np.ndarray[Any, Any]]:
        """The answer to the inputs, by way of a file."""
        self._ask({"save": str(path)})
        with np.load(path) as saved:
            return dict(saved)

    def close(self) -> None:
        """Ends the child, whatever it is doing."""
        self._child.kill()
        self._child.communicate()
        self._open.close()

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            raise PeerFailure(self._death()) from None
        return self._receive()

    def _receive(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = _read_line(self._child.stdout)
        if line is None:
            self.close()
            raise PeerFailure(f"{self._name} said nothing for {PATIENCE_S:.0f} s and was stopped")
        if not line.endswith(b"\n"):
            raise PeerFailure(self._death())
        return json.loads(line)

    def _death(self) -> str:
        """How the child ended, and the last that it wrote to its error stream."""
        status = self._child.wait()
        self._stderr.seek(0)
        last = last_words(self._stderr.read())
        self.close()
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"{self._name} {how}: {last}"


def process_core_s(pid: int) -> float:
    """Core seconds that one living process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def last_words(text: str) -> str:
    """The last lines of what a program wrote, on one line, without the folders that are only this machine's."""
    lines = [line.strip() for line in text.strip().splitlines()[-LAST_LINES:]]
    joined = " / ".join(lines) or "it wrote nothing"
    return joined.replace(f"{Path.cwd()}/", "").replace(f"{tempfile.gettempdir()}/", "")


def _read_line(pipe: IO[bytes]) -> bytes | None:
    """Bytes up to the end of a line or of the stream; None when the other side falls silent."""
    line = b""
    while not line.endswith(b"\n"):
        if not select.select([pipe], [], [], PATIENCE_S)[0]:
            return None
        chunk = os.read(pipe.fileno(), 1 << 16)
        if not chunk:
            return line
        line += chunk
    return line


def _serve(peer_name: str, model: str, threads: int, inputs_path: str) -> None:
    """The child's end. Whatever libraries print goes to the error stream; the pipe carries messages only."""
    with os.fdopen(os.dup(1), "w") as channel:
        os.dup2(2, 1)
        _answer_requests(channel, peer_name, model, threads, inputs_path)


def _answer_requests(channel: IO[str], peer_name: str, model: str, threads: int, inputs_path: str) -> None:
    with np.load(inputs_path) as saved:
        inputs: dict[str, np.ndarray[Any, Any]] = dict(saved)
    peer = PEERS[peer_name]
    start = perf_counter()
    library = peer.imported()
    imported = perf_counter()
    after_import = _resident()["VmRSS"]
    loading = perf_counter()
    answer = peer.load(library, model, threads)
    loaded = perf_counter()
    answer(inputs)
    _send(channel, vars(Loading(peer.version(), imported - start, loaded - loading, perf_counter() - loading)))
    for line in sys.stdin:
        _send(channel, _respond(json.loads(line), answer, inputs, after_import))


def _respond(request: dict[str, Any], answer: Answer, inputs: Arrays, after_import: int) -> dict[str, Any]:
    match request:
        case {"run": times}:
            return {"times_us": _timed(answer, inputs, times)}
        case {"save": path}:
            np.savez(path, allow_pickle=False, **answer(inputs))
            return {}
        case _:
            resident = _resident()
            return vars(Memory(after_import, resident["VmRSS"], resident["VmHWM"]))


def _timed(answer: Answer, inputs: Arrays, times: int) -> list[float]:
    gc.collect()
    gc.disable()
    results: list[float] = []
    for _ in range(times):
        start = perf_counter_ns()
        answer(inputs)
        results.append((perf_counter_ns() - start) / 1e3)
    gc.enable()
    return results


def _resident() -> dict[str, int]:
    """The memory lines of /proc/self/status, in bytes."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {line[0].rstrip(":"): int(line[1]) * 1024 for line in lines if len(line) == 3 and line[2] == "kB"}


def _send(channel: IO[str], message: dict[str, Any]) -> None:
    channel.write(json.dumps(message) + "\n")
    channel.flush()


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
