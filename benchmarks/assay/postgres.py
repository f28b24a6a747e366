"""A real PostgreSQL to be killed: in a folder of its own, on a free port, gone with whoever started it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from itertools import count
from pathlib import Path
from typing import IO, Any, Self

import psycopg

from benchmarks.assay.ports import free_port

PROGRAMS = Path("/usr/lib/postgresql/15/bin")  # Debian's
READY_S = 60.0
_READY = "database system is ready to accept connections"


def why_no_postgres() -> str:
    """Why PostgreSQL cannot be started here; '' when it can."""
    missing = next((name for name in ("initdb", "postgres") if not (PROGRAMS / name).exists()), None)
    return f"no {PROGRAMS / missing}: apt install postgresql-15" if missing else ""


class PostgresServer:
    """One PostgreSQL server, of a user without rights where root runs the tests. What it holds outlives ``kill``.

    ``start``, ``kill`` (as a crash does), ``restart`` (after it), ``pause``/``resume``, ``stop`` (for good).
    ``is_durable``: it waits for the disk at every commit; slower, and needed only where the machine itself crashes.
    """

    def __init__(self, is_durable: bool = False, programs: Path = PROGRAMS) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="assay-pg-"))  # short: sockets have short names
        self._port = free_port()
        self._is_durable = is_durable
        self._programs = programs
        self._server: subprocess.Popen[str] | None = None
        self._names = count(1)

    @property
    def url(self) -> str:
        """Of the database "postgres". Its user may do anything."""
        return self._url("postgres")

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"assay{next(self._names)}"
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._url(name)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        if _account():
            shutil.chown(self._folder, _account()["user"], _account()["group"])
        make = [self._programs / "initdb", "-D", self._folder / "db", "-U", "assay", "-A", "trust", "-E", "UTF8"]
        subprocess.run([*make, "--no-sync", "--locale=C.UTF-8"], check=True, capture_output=True, cwd="/", **_account())
        self.restart()

    def restart(self) -> None:
        """The server again, on the same port with what it held."""
        assert self._server is None or self._server.poll() is not None, "it runs: kill it first"
        settings = {"port": self._port, "unix_socket_directories": self._folder, "listen_addresses": "127.0.0.1"}
        if not self._is_durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        options = [f"--{name}={value}" for name, value in settings.items()]
        self._server = subprocess.Popen(
            [self._programs / "postgres", "-D", self._folder / "db", *options],
            cwd="/",
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that the terminal's interrupt does not end it
            **_account(),
        )
        self._until_ready(self._server)

    def kill(self) -> None:
        """SIGKILL to all of its processes: nothing is written any more, as in a crash."""
        assert self._server is not None, "it was not started"
        for pid in [self._server.pid, *self._children()]:
            _send(pid, signal.SIGKILL)
        self._server.wait()

    def pause(self) -> None:
        """It keeps its connections and answers nothing."""
        self._send_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._send_all(signal.SIGCONT)

    def stop(self) -> None:
        if self._server is not None and self._server.poll() is None:
            self.kill()
        shutil.rmtree(self._folder)

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://assay@127.0.0.1:{self._port}/{database}"

    def _send_all(self, which: signal.Signals) -> None:
        assert self._server is not None, "it was not started"
        for pid in [self._server.pid, *self._children()]:
            _send(pid, which)

    def _children(self) -> list[int]:
        """Each has a session of its own, so that no group holds them all."""
        assert self._server is not None
        return [
            int(pid) for pid in Path(f"/proc/{self._server.pid}/task/{self._server.pid}/children").read_text().split()
        ]

    def _until_ready(self, server: subprocess.Popen[str]) -> None:
        assert server.stderr is not None
        impatient = threading.Timer(READY_S, server.kill)
        impatient.start()
        said: list[str] = []
        for line in server.stderr:
            said.append(line)
            if _READY in line:
                break
        impatient.cancel()
        if not said or _READY not in said[-1]:
            raise RuntimeError(f"PostgreSQL did not start within {READY_S:.0f} s; it said:\n{''.join(said[-30:])}")
        threading.Thread(target=_read_out, args=(server.stderr,), daemon=True).start()


def _read_out(stream: IO[str]) -> None:
    """So that the server never waits for a reader."""
    with stream:
        for _ in stream:
            pass


def _account() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _send(pid: int, which: signal.Signals) -> None:
    try:
        os.kill(pid, which)
    except ProcessLookupError:
        return
