"""fusee serve: a folder of models becomes an inference service."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fusee.base.errors import RequestError
from fusee.cli.output import console, print_json
from fusee.server.settings import Limits, ModelControl, Settings, TlsFiles

if TYPE_CHECKING:
    from fusee.server.listening import Ports

MIB = 1 << 20
CLOSED = -1
Port = typer.Option(min=CLOSED, max=65535, help="0 takes any free port, -1 leaves the door shut.")


def command(
    repository: Annotated[
        list[Path] | None, typer.Argument(help="Folders of models: engines, ONNX files, or Triton's layout.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; others than loopback need keys.")] = "127.0.0.1",
    http_port: Annotated[int, Port] = 8000,
    grpc_port: Annotated[int, Port] = 8001,
    metrics_port: Annotated[int, Port] = 8002,
    model_control: Annotated[
        ModelControl, typer.Option(help="none: load all at start; explicit: by --load-model and calls; poll: watch.")
    ] = ModelControl.NONE,
    load_model: Annotated[
        list[str] | None, typer.Option(help="With explicit control: load this one at start (* for all); repeatable.")
    ] = None,
    poll_s: Annotated[float, typer.Option("--poll-s", min=0.1, help="Seconds between looks at the folders.")] = 15.0,
    strict_readiness: Annotated[bool, typer.Option(help="Ready only when every selected model is.")] = True,
    keys_file: Annotated[Path | None, typer.Option(help="JSON file of keys and their scopes.")] = None,
    new_key: Annotated[str, typer.Option(help="Print a new key of that name and its entry; serves nothing.")] = "",
    tune: Annotated[str, typer.Option(metavar="MODEL", help="Find how to serve it best; serves nothing else.")] = "",
    p99_ms: Annotated[float, typer.Option(min=0.1, help="With --tune: the latency to keep.")] = 50.0,
    duration: Annotated[float, typer.Option(min=0.5, help="With --tune: seconds of each load.")] = 3.0,
    rate: Annotated[float, typer.Option(min=0.1, help="With --tune: requests a second to begin with.")] = 50.0,
    allow_anonymous: Annotated[bool, typer.Option(help="Without keys on an address others can reach.")] = False,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate chain, for HTTP and gRPC.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM key of that certificate.")] = None,
    tls_client_ca: Annotated[Path | None, typer.Option(help="Callers must show a certificate signed by it.")] = None,
    allow_shared_memory: Annotated[
        str | None, typer.Option(metavar="PREFIX", help="Let callers register shared memory with this key prefix.")
    ] = None,
    allow_python_models: Annotated[bool, typer.Option(help="Run pipeline.py files of the repository.")] = False,
    allow_load_override: Annotated[bool, typer.Option(help="Take configuration and files with a load call.")] = False,
    frontends: Annotated[int, typer.Option(min=0, help="Processes that parse requests; 0: one process for all.")] = 0,
    isolate: Annotated[
        bool, typer.Option(help="Run engines in a process of their own, restarted when it dies.")
    ] = False,
    instance_threads: Annotated[
        int, typer.Option(min=0, help="Threads of one engine session; 0: cores/instances.")
    ] = 0,
    max_batch_size: Annotated[int, typer.Option(min=1, help="Of models that batch and do not say.")] = 16,
    max_body_mib: Annotated[int, typer.Option(min=1, help="Largest request, decompressed.")] = 64,
    otlp_endpoint: Annotated[str, typer.Option(help="Send OpenTelemetry traces there; needs fusee[otel].")] = "",
    trace_file: Annotated[Path | None, typer.Option(help="Write traces there, for Perfetto.")] = None,
    log_json: Annotated[bool, typer.Option(help="Log JSON lines.")] = False,
    access_log: Annotated[bool, typer.Option(help="Log every request: what was asked, by whose key.")] = False,
) -> None:
    """Serve models over the Open Inference Protocol, HTTP and gRPC, as Triton's clients speak it."""
    if new_key:
        _print_key(new_key)
        return
    if not repository:
        raise RequestError("fusee serve needs a folder of models, as in: fusee serve models/")
    if tune:
        _tune(repository[0], tune, p99_ms, duration, rate)
        return
    settings = Settings(
        repository=tuple(repository),
        host=host,
        http_port=_port(http_port),
        grpc_port=_port(grpc_port),
        metrics_port=_port(metrics_port),
        model_control=model_control,
        load_models=tuple(load_model or ()),
        poll_s=poll_s,
        strict_readiness=strict_readiness,
        keys_file=keys_file,
        allow_anonymous=allow_anonymous,
        tls=_tls(tls_cert, tls_key, tls_client_ca),
        shared_memory_prefix=allow_shared_memory,
        allow_python_models=allow_python_models,
        allow_load_override=allow_load_override,
        frontends=frontends,
        is_isolated=isolate,
        instance_threads=instance_threads or None,
        max_batch_size=max_batch_size,
        limits=Limits(body_bytes=max_body_mib * MIB),
        otlp_endpoint=otlp_endpoint,
        trace_file=trace_file,
        log_json=log_json,
        access_log=access_log,
    )
    _run(settings)


def _port(number: int) -> int | None:
    return None if number == CLOSED else number


def _tls(certificate: Path | None, key: Path | None, client_ca: Path | None) -> TlsFiles | None:
    if certificate is None and key is None and client_ca is None:
        return None
    if certificate is None or key is None:
        raise RequestError("TLS needs both --tls-cert and --tls-key")
    return TlsFiles(certificate, key, client_ca)


def _print_key(name: str) -> None:
    key = secrets.token_urlsafe(32)
    digest = hashlib.sha256(key.encode()).hexdigest()
    print_json({"key": key, "entry": {"name": name, "sha256": digest, "scopes": ["infer", "read"]}})


def _tune(repository: Path, model: str, p99_ms: float, duration_s: float, rate_per_s: float) -> None:
    try:
        from fusee.client.tune import Tried, Tuning, tune, way_config
    except ImportError as err:
        raise _missing(err) from err

    def show(tried: Tried) -> None:
        console.print(f"{tried.rate_per_s:8.1f} requests/s within {p99_ms:g} ms: {tried.way}")

    tuning = Tuning(repository, model, p99_ms / 1e3, duration_s, rate_per_s)
    best = tune(tuning, show)
    console.print(f"\nbest: {best.way}. Its {model}/config.pbtxt:\n")
    console.print(way_config(tuning, best.way), markup=False)


def _run(settings: Settings) -> None:
    try:
        import uvloop

        from fusee.server.app import serve
    except ImportError as err:
        raise _missing(err) from err
    uvloop.run(serve(settings, _print_ports, _print_loaded))


def _print_ports(ports: Ports) -> None:
    for name, port in (("HTTP", ports.http), ("gRPC", ports.grpc), ("metrics", ports.metrics)):
        if port is not None:
            console.print(f"{name} on {ports.host}:{port}")


def _print_loaded(failed: list[str]) -> None:
    for reason in failed:
        console.print(f"not loaded: {reason}", markup=False)
    console.print("not ready: see above" if failed else "ready")


def _missing(err: ImportError) -> RequestError:
    return RequestError(f"fusee serve needs the package {err.name!r}: pip install 'fusee[serve]'")
