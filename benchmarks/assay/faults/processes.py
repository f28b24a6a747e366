"""Processes of an installation, started as an operator starts them, to be killed, hung and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple, Protocol

READY_S = 120.0
STOP_S = 60.0
LOOK_S = 0.02


class Victim(Protocol):
    """What faults are done to. It keeps its ports and its files."""

    def kill(self) -> None:
        """SIGKILL."""
        ...

    def restart(self) -> None:
        """Ready when it returns."""
        ...

    def pause(self) -> None:
        """SIGSTOP: it holds what it holds and answers nothing."""
        ...

    def resume(self) -> None: ...


class Stopped(NamedTuple):
    """How a process ended after SIGTERM."""

    code: int  # -9: it did not, within STOP_S
    took_s: float


class Process:
    """``python -m`` of ``words``; what it prints goes to ``log``. ``ready`` is printed when it can take work."""

    def __init__(self, words: Sequence[str], ready: str, log: Path) -> None:
        self._command = [sys.executable, "-m", *words]
        self._ready = ready
        self._log = log
        self._running: subprocess.Popen[bytes] | None = None

    def restart(self) -> None:
        """Raises RuntimeError with what it printed when it does not become ready."""
        assert not self.is_alive, "it runs: kill it first"
        with self._log.open("ab") as log:
            begin = log.tell()
            self._running = subprocess.Popen(
                self._command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=_environment()
            )
        ends = monotonic() + READY_S
        while self._ready not in (printed := self._printed(begin)):
            if not self.is_alive or monotonic() > ends:
                self.kill()
                raise RuntimeError(f"{' '.join(self._command[2:])}: not ready; it printed:\n{printed[-4000:]}")
            sleep(LOOK_S)

    @property
    def is_alive(self) -> bool:
        return self._running is not None and self._running.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> Stopped:
        """SIGTERM, then SIGKILL when that does not do."""
        start = monotonic()
        self._process.terminate()
        try:
            code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            code = -signal.SIGKILL
        return Stopped(code, monotonic() - start)

    def end(self) -> None:
        """For good, whatever it was doing."""
        if self.is_alive:
            self.kill()

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        assert self._running is not None, "it was not started"
        return self._running

    def _printed(self, begin: int) -> str:
        with self._log.open("rb") as log:
            log.seek(begin)
            return log.read().decode(errors="replace")


def _environment() -> dict[str, str]:
    """Settings come from the installation's file alone."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
