"""What an installation may be told: a TOML file, or environment variables named ASSAY_ and the field in capitals.

A variable whose name ends in _FILE names a file with the value, as secrets are mounted: ASSAY_STORE_URL_FILE.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from assay.errors import invalid

PREFIX, FILE = "ASSAY_", "_FILE"


@dataclass(frozen=True)
class Settings:
    """One installation. The defaults keep everything in ``home``, in one process, with no server to set up."""

    home: Path
    store_url: str = ""  # '': SQLite in home; postgresql+psycopg://user:password@host/database
    queue_url: str = ""  # '': SQLite in home; memory: ; amqp://... ; kafka://host:port
    lens_url: str = ""  # '': the engines run in this process; grpc://[:key@]host:port of a `fusee serve`
    blobs: str = "folder"  # or "database": photographs lie in the store, for several machines without a shared disk
    references: str = "files"  # or "pgvector", in the store's PostgreSQL
    host: str = "127.0.0.1"  # the address that is listened on; 0.0.0.0: all of the machine
    port: int = 8080  # of the web; 0: any free one
    public_url: str = ""  # what links and QR codes begin with; '': as the caller reached us
    workers: int = 1  # judging in the web's process; 0: only `assay work` does
    threads: int = 0  # of one engine session; 0: one for each core
    batch_cases: int = 4  # a worker claims up to this many at once
    lease_s: float = 30.0  # then a job whose worker was not heard of is another's; workers renew it meanwhile
    most_attempts: int = 8  # then the job is a dead letter
    most_waiting: int = 1000  # cases; beyond it submissions are refused with 429 and Retry-After
    upload_bytes: int = 20 * 1024 * 1024  # of one photograph
    upload_pixels: int = 50_000_000  # of one photograph, width times height
    requests_per_minute: int = 600  # of one key
    notice: str = ""  # shown above every page and report: that the data are a demonstration's, for instance
    private_webhooks: int = 0  # 1: webhooks may go to private addresses, and without TLS
    signing_key_path: str = ""  # '': signing.key in home; the same key for every process of an installation
    health_port: int = 0  # of `assay work`, for /healthz, /readyz and /metrics; 0: none

    @property
    def database_url(self) -> str:
        return self.store_url or f"sqlite:///{self.home / 'assay.sqlite'}"

    @property
    def engines(self) -> Path:
        return self.home / "engines"

    @property
    def calibration(self) -> Path:
        return self.home / "calibration.json"

    @property
    def signing_key(self) -> Path:
        return Path(self.signing_key_path) if self.signing_key_path else self.home / "signing.key"


def read_settings(home: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """From ``home/assay.toml``, where there is one, then the environment. Raises Refusal INVALID."""
    written: dict[str, Any] = {}
    file = home / "assay.toml"
    if file.exists():
        try:
            written = tomllib.loads(file.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
            raise invalid(f"{file}: {err}; expected TOML") from err
    known = {f.name: f.default for f in fields(Settings) if f.name != "home"}
    told = {name: _told(PREFIX + name.upper(), environment) for name in known}
    written |= {name: text for name, text in told.items() if text is not None}
    unknown = sorted(written.keys() - known)
    if unknown:
        raise invalid(f"{file}: unknown setting {unknown[0]!r}; there are {', '.join(known)}")
    return replace(Settings(home), **{name: _as_type_of(known[name], name, written[name]) for name in written})


def _told(variable: str, environment: Mapping[str, str]) -> str | None:
    """The variable's value, or that of the file it names; None: neither is set. Raises Refusal INVALID."""
    file = environment.get(variable + FILE)
    if file is None:
        return environment.get(variable)
    if variable in environment:
        raise invalid(f"{variable} and {variable}{FILE} are both set; expected one of them")
    try:
        return Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as err:
        raise invalid(f"{variable}{FILE} names {file}, which cannot be read: {err}; expected a file of text") from err


def _as_type_of(default: object, name: str, value: object) -> str | int | float:
    """The value as a setting of the default's type; text is read as a number where one is expected."""
    kind = "text" if isinstance(default, str) else "a whole number" if isinstance(default, int) else "a number"
    try:
        if isinstance(default, str) and isinstance(value, str):
            return value
        if isinstance(default, int) and isinstance(value, (int, str)) and not isinstance(value, bool):
            return int(value)
        if isinstance(default, float) and isinstance(value, (int, float, str)) and not isinstance(value, bool):
            return float(value)
    except ValueError:
        pass
    raise invalid(f"setting {name} is {value!r}; expected {kind}")
