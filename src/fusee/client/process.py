"""Our server as a process of its own, started on free ports and stopped."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from fusee.base.errors import DeviceError
from fusee.client.address import Address

READY_S = 120.0
STOP_S = 60.0
LINE = re.compile(r"(HTTP|gRPC|metrics) on (\S+:\d+)")


class ServerProcess(NamedTuple):
    """A server: its process, and where its doors are."""

    process: subprocess.Popen[str]
    http: Address
    grpc: Address
    metrics: Address


@contextmanager
def server_process(repository: Path, options: Sequence[str] = ()) -> Generator[ServerProcess]:
    """``fusee serve`` on that repository, ready when the block begins. Raises DeviceError with what it printed."""
    command = [sys.executable, "-m", "fusee", "serve", str(repository), *options]
    command += ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    late = threading.Timer(READY_S, process.kill)
    late.start()
    try:
        found, lines = _await_ready(process.stdout)
        late.cancel()
        if len(found) < 3:
            raise DeviceError(f"fusee serve {repository} did not become ready; it printed:\n{''.join(lines)}")
        drain = threading.Thread(target=lambda: [None for _ in process.stdout or ()], daemon=True)
        drain.start()
        yield ServerProcess(process, found["HTTP"], found["gRPC"], found["metrics"])
    finally:
        late.cancel()
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_ready(output: IO[str]) -> tuple[dict[str, Address], list[str]]:
    """Addresses by door once it says "ready"; fewer when its output ends before."""
    found: dict[str, Address] = {}
    lines: list[str] = []
    for line in output:
        lines.append(line)
        if match := LINE.match(line):
            found[match[1]] = Address.of(match[2])
        if line.strip() == "ready":
            return found, lines
        if line.startswith("not ready"):
            break
    return {}, lines
