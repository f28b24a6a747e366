"""Two installations of the same application, told apart by settings alone: one process, and many."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from assay.cases import Scope
from assay.installation import utc_now
from assay.settings import Settings, read_settings
from assay.store import Store
from assay.vision.engines import serving_folder
from benchmarks.assay.faults.installation import Template
from benchmarks.assay.faults.processes import Process, Victim
from benchmarks.assay.ports import free_port
from benchmarks.assay.postgres import PostgresServer, why_no_postgres
from benchmarks.assay.rabbitmq import RabbitServer, why_no_rabbitmq

LEASE_S = 6.0
HEARTBEAT_S = 4  # a hung process loses its connection to RabbitMQ, and its jobs, after two
COMMON: Mapping[str, str | int | float] = {
    "lease_s": LEASE_S,
    "most_waiting": 8,  # so that customers are refused now and then
    "requests_per_minute": 100_000,
    "private_webhooks": 1,  # to a receiver on this machine
    "threads": 1,
}


@dataclass(frozen=True)
class Customer:
    """A tenant with its key."""

    tenant_id: str
    key: str
    webhook_secret: str


@dataclass(frozen=True)
class Rig:
    """A running installation."""

    settings: Settings
    addresses: tuple[str, ...]  # of its webs
    victims: Mapping[str, Victim]  # by what they are: "worker 1"
    own: Mapping[str, Process]  # those of them that are ours: they have to end well after SIGTERM
    customers: tuple[Customer, ...]


def why_no_rig(scale: str) -> str:
    """Why this one cannot be started here; '' when it can."""
    return "" if scale == "embedded" else why_no_postgres() or why_no_rabbitmq()


@contextmanager
def rig(scale: str, template: Template, folder: Path, webhook_url: str = "") -> Generator[Rig]:
    """The installation in ``folder``, ready; ended with the block. ``scale``: embedded, distributed."""
    home = template.new_home(folder / "home")
    with ExitStack() as running:
        yield (
            _embedded(home, running, webhook_url)
            if scale == "embedded"
            else _distributed(home, folder, running, webhook_url)
        )


def _embedded(home: Path, running: ExitStack, webhook_url: str) -> Rig:
    """Web, relay, worker, engines, queue and database: all one process."""
    settings = _written(home, {"workers": 1})
    customers = _customers(settings, webhook_url)
    address, process = _web(home, home.parent / "web.log", running)
    own = {"process": process}
    return Rig(settings, (address,), own, own, customers)


def _distributed(home: Path, folder: Path, running: ExitStack, webhook_url: str) -> Rig:
    database = running.enter_context(PostgresServer())
    broker = running.enter_context(RabbitServer(folder / "rabbitmq"))
    grpc_port = free_port()
    settings = _written(
        home,
        {
            "store_url": database.new_database(),
            "queue_url": f"{broker.url}?heartbeat={HEARTBEAT_S}",
            "lens_url": f"grpc://127.0.0.1:{grpc_port}",
            "blobs": "database",
            "workers": 0,
        },
    )
    customers = _customers(settings, webhook_url)
    repository = str(serving_folder(settings.engines))
    ports = ["--http-port", "-1", "--grpc-port", str(grpc_port), "--metrics-port", "-1"]
    server = _started(["fusee", "serve", repository, *ports], "ready", folder / "server.log", running)
    work = ["assay", "work", "--home", str(home)]
    workers = {f"worker {n}": _started(work, "Assay works", folder / f"worker{n}.log", running) for n in (1, 2)}
    webs = {f"web {n}": _web(home, folder / f"web{n}.log", running) for n in (1, 2)}
    own = {"server": server, **workers, **{name: process for name, (_, process) in webs.items()}}
    victims: dict[str, Victim] = {**own, "broker": broker, "database": database}
    return Rig(settings, tuple(address for address, _ in webs.values()), victims, own, customers)


def _web(home: Path, log: Path, running: ExitStack) -> tuple[str, Process]:
    port = free_port()
    words = ["assay", "serve", "--home", str(home), "--port", str(port)]
    return f"http://127.0.0.1:{port}", _started(words, "Assay is at", log, running)


def _started(words: list[str], ready: str, log: Path, running: ExitStack) -> Process:
    process = Process(words, ready, log)
    running.callback(process.end)
    process.restart()
    return process


def _written(home: Path, values: Mapping[str, str | int | float]) -> Settings:
    """The settings, by way of the file that the processes read."""
    lines = [f"{name} = {value!r}" for name, value in {**COMMON, **values}.items()]
    (home / "assay.toml").write_text("\n".join(lines) + "\n")
    return read_settings(home, {})


def _customers(settings: Settings, webhook_url: str) -> tuple[Customer, ...]:
    store = Store(settings, utc_now)
    try:
        made = [store.tenants.create(name, webhook_url=webhook_url) for name in ("North", "South")]
        return tuple(_customer(store, tenant.id) for tenant in made)
    finally:
        store.close()


def _customer(store: Store, tenant_id: str) -> Customer:
    _, key = store.tenants.create_key(tenant_id, "load", [Scope.SUBMIT])
    return Customer(tenant_id, key, store.tenants.webhook_secret(tenant_id))
