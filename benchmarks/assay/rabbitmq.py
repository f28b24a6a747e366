"""A real RabbitMQ to be killed: in a folder of its own, on free ports, gone with whoever started it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import Self

from benchmarks.assay.ports import free_port

READY_S = 120.0

RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # Debian's: it runs as whoever starts it
RABBITMQ_SETTINGS = """\
listeners.tcp.1 = 127.0.0.1:{port}
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 50MB
log.console = false
log.file.level = warning
"""


def why_no_rabbitmq() -> str:
    """Why RabbitMQ cannot be started here; '' when it can."""
    if not RABBITMQ.exists():
        return f"no {RABBITMQ}: apt install rabbitmq-server"
    return "" if shutil.which("epmd") else "no epmd: apt install erlang-base"


class RabbitServer:
    """One RabbitMQ node with a name, a cookie and a port mapper of its own. What it holds outlives ``kill``.

    ``start``, ``kill`` (as a crash does), ``restart`` (after either), ``stop`` (for good).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port, self._mapper_port, self._node_port = free_port(), free_port(), free_port()
        self._mapper: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self._port}/"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "rabbitmq.conf").write_text(RABBITMQ_SETTINGS.format(port=self._port))
        (self._folder / "enabled_plugins").write_text("[].\n")
        mapper = ["epmd", "-port", str(self._mapper_port), "-address", "127.0.0.1"]
        self._mapper = subprocess.Popen(mapper, env=self._environment(), stdout=subprocess.DEVNULL)
        self.restart()

    def restart(self) -> None:
        """The node again, on the same port with what it held."""
        assert self._server is None or self._server.poll() is not None, "it runs: kill it first"
        self._server = subprocess.Popen(
            [RABBITMQ],
            env=self._environment(),
            cwd=self._folder,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its helpers end with it
        )
        self._until_ready(self._server)

    def kill(self) -> None:
        """SIGKILL to the node and its helpers."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """It keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._server is not None and self._server.poll() is None:
            self.kill()
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait()

    def _end(self, how: signal.Signals) -> None:
        self._signal(how)
        assert self._server is not None
        self._server.wait()

    def _signal(self, which: signal.Signals) -> None:
        assert self._server is not None, "it was not started"
        os.killpg(self._server.pid, which)

    def _until_ready(self, server: subprocess.Popen[str]) -> None:
        impatient = threading.Timer(READY_S, self.kill)
        impatient.start()
        said: list[str] = []
        assert server.stdout is not None
        for line in server.stdout:
            said.append(line)
            if "completed with" in line:
                break
        impatient.cancel()
        if not said or "completed with" not in said[-1]:
            raise RuntimeError(f"RabbitMQ did not start within {READY_S:.0f} s; it said:\n{''.join(said[-30:])}")
        threading.Thread(target=server.stdout.read, daemon=True).start()  # so that it never waits for a reader

    def _environment(self) -> dict[str, str]:
        folder = self._folder
        return os.environ | {
            "HOME": str(folder),  # of the cookie
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RUNNING_UNDER_SYSTEMD": "true",  # the shell becomes the node: a signal to it reaches the node itself
            "RABBITMQ_NODENAME": f"rabbit{self._port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none",
        }
