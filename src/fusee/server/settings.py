"""What a server may be told. Units are in the names; every limit has a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path


class ModelControl(Enum):
    """Who decides what is loaded."""

    NONE = "none"  # everything in the repository, at start
    EXPLICIT = "explicit"  # what --load-model names, then the load and unload calls
    POLL = "poll"  # what the repository holds, looked at every few seconds


@dataclass(frozen=True)
class Limits:
    """What one caller, or all of them, may use. Beyond a limit the answer is an error that names it."""

    header_bytes: int = 32 * 1024
    body_bytes: int = 64 * 1024 * 1024  # after decompression
    chunks: int = 65_536
    json_depth: int = 64
    tensors: int = 256  # inputs and wanted outputs of one request
    connections: int = 1024
    streams: int = 256  # under way on one HTTP/2 connection
    requests: int = 4096  # under way on the server
    request_bytes: int = 1024 * 1024 * 1024  # of bodies held in memory, all callers together
    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0  # between two pieces of a body, or of an answer that the caller does not read
    idle_timeout_s: float = 300.0
    image_pixels: int = 64_000_000  # of one encoded image, judged from its header before it is decoded


@dataclass(frozen=True)
class TlsFiles:
    """PEM files. With ``client_ca`` callers must show a certificate that it signed."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True)
class Settings:
    """One server. Port 0 takes any free one, None leaves that door shut."""

    repository: tuple[Path, ...]
    host: str = "127.0.0.1"
    http_port: int | None = 8000
    grpc_port: int | None = 8001
    metrics_port: int | None = 8002
    model_control: ModelControl = ModelControl.NONE
    load_models: tuple[str, ...] = ()
    poll_s: float = 15.0
    strict_readiness: bool = True  # ready only when every selected model is
    keys_file: Path | None = None
    allow_anonymous: bool = False  # without keys, on an address that other machines reach
    tls: TlsFiles | None = None
    shared_memory_prefix: str | None = None  # regions whose key begins with it may be registered; None: none may
    allow_python_models: bool = False
    allow_load_override: bool = False  # configuration and files given with a load call
    frontends: int = 0  # processes that parse requests; 0: this one
    is_isolated: bool = False  # engines run in a process of their own
    build_threads: int = 1
    instance_threads: int | None = None  # of one engine session; None: the machine's cores over the instances
    max_batch_size: int = 16  # of models that batch and whose configuration does not say
    otlp_endpoint: str = ""  # traces go there; needs the otel extra
    trace_file: Path | None = None  # or into this file, for chrome://tracing and Perfetto
    log_json: bool = False
    access_log: bool = False  # a line for every request
    limits: Limits = field(default_factory=Limits)
