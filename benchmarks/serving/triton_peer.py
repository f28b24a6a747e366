"""A real Triton Inference Server beside ours: found, started on free ports, stopped. ``setup_triton`` installs it."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

START_S = 90.0
STOP_S = 15.0
ATTEMPTS = 3  # another process may take a port between our look and the server's


class Addresses(NamedTuple):
    """Where a server listens, as host:port."""

    http: str
    grpc: str
    metrics: str


class TritonError(Exception):
    """Triton did not start."""


def triton_home() -> Path | None:
    """The folder that ``setup_triton`` filled: named by TRITON_HOME, else .triton here; or None."""
    home = Path(os.environ.get("TRITON_HOME") or Path(__file__).parents[2] / ".triton")
    return home if (home / ".installed").is_file() else None


def perf_analyzer(home: Path) -> tuple[Path, Mapping[str, str]]:
    """The program and the environment that it runs in."""
    return home / "bin" / "perf_analyzer", {**os.environ, "LD_LIBRARY_PATH": str(home / "lib")}


@contextmanager
def running(home: Path, repository: Path, options: Sequence[str] = ()) -> Generator[Addresses]:
    """Triton on that repository, ready when the block begins. ``options`` are further ones of tritonserver's.

    Raises TritonError with the end of its log.
    """
    with tempfile.TemporaryFile() as log:
        server, addresses = _start(home, repository, options, log.fileno())
        try:
            yield addresses
        finally:
            _stop(server)


def _start(home: Path, repository: Path, options: Sequence[str], log: int) -> tuple[subprocess.Popen[bytes], Addresses]:
    for _ in range(ATTEMPTS):
        http_port, grpc_port, metrics_port = _free_ports(3)
        command = _command(home, repository, (http_port, grpc_port, metrics_port))
        server = subprocess.Popen(
            [*command, *options], env=_environment(home), stdout=log, stderr=log, start_new_session=True
        )
        addresses = Addresses(*(f"127.0.0.1:{port}" for port in (http_port, grpc_port, metrics_port)))
        try:
            if _becomes_ready(server, http_port):
                return server, addresses
        except BaseException:
            _stop(server)
            raise
        _stop(server)
    raise TritonError(f"Triton did not become ready on {repository}; the end of its log:\n{_tail(log)}")


def _command(home: Path, repository: Path, ports: tuple[int, int, int]) -> list[str]:
    doors = [
        option
        for door, port in zip(("http", "grpc", "metrics"), ports, strict=True)
        for option in (f"--{door}-address=127.0.0.1", f"--{door}-port={port}")
    ]
    return [
        str(home / "triton" / "bin" / "tritonserver"),
        f"--model-repository={repository}",
        f"--backend-directory={home / 'backends'}",
        "--allow-gpu-metrics=false",
        "--exit-timeout-secs=5",
        *doors,
    ]


def _environment(home: Path) -> Mapping[str, str]:
    """The backend's interpreter finds its packages, numpy 1 among them, by the first Python on the path."""
    libraries = f"{home / 'bundled'}:{home / 'lib'}"
    path = f"{home / 'venv' / 'bin'}:{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, "LD_LIBRARY_PATH": libraries, "PATH": path}


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _becomes_ready(server: subprocess.Popen[bytes], port: int) -> bool:
    """Whether it answers that it is ready before it ends or the time is over."""
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        with suppress(subprocess.TimeoutExpired):
            server.wait(0.1)
            return False
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/v2/health/ready")
            if connection.getresponse().status == 200:
                return True
    return False


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _tail(log: int) -> str:
    size_bytes = os.fstat(log).st_size
    return os.pread(log, 4000, max(0, size_bytes - 4000)).decode(errors="replace")
