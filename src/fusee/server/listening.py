"""Where a server listens: its addresses, and who may reach them."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from fusee.base.errors import DeviceError, RequestError
from fusee.server.settings import Settings

BACKLOG = 1024


@dataclass(frozen=True)
class Ports:
    """Where a server listens; None is a door that stays shut."""

    host: str
    http: int | None
    grpc: int | None
    metrics: int | None


def check_exposure(settings: Settings) -> None:
    """Refuse to listen where other machines reach without keys, unless that was asked for. Raises RequestError."""
    if settings.keys_file or settings.allow_anonymous or _is_loopback(settings.host):
        return
    raise RequestError(
        f"--host {settings.host} can be reached from other machines and there is no --keys-file: everybody could use "
        "and change the models. Give a keys file (fusee serve --new-key NAME makes an entry), or say --allow-anonymous"
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening_socket(host: str, port: int, is_shared: bool = False) -> socket.socket:
    """A socket that listens; ``is_shared`` lets other processes listen on the same port. Raises DeviceError."""
    with ExitStack() as failed:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            found = failed.enter_context(socket.socket(family, kind, protocol))
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if is_shared:
                found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            found.bind(address)
            found.listen(BACKLOG)
        except OSError as err:
            why = err.strerror or err
            raise DeviceError(f"cannot listen on {host}:{port}: {why}; is another server running?") from err
        failed.pop_all()
    found.setblocking(False)
    return found


def listen(settings: Settings, is_shared: bool = False) -> dict[str, socket.socket]:
    """Sockets by door: "http", "grpc" and "metrics", those that the settings name. Raises DeviceError."""
    wanted = {"http": settings.http_port, "grpc": settings.grpc_port, "metrics": settings.metrics_port}
    found: dict[str, socket.socket] = {}
    try:
        for door, port in wanted.items():
            if port is not None:
                found[door] = listening_socket(settings.host, port, is_shared)
    except DeviceError:
        for each in found.values():
            each.close()
        raise
    return found


def listen_again(settings: Settings, first: Mapping[str, socket.socket]) -> dict[str, socket.socket]:
    """More sockets, on the ports of shared ones: the system spreads connections over them. Raises DeviceError."""
    return {door: listening_socket(settings.host, _port(sock), is_shared=True) for door, sock in first.items()}


def ports_of(settings: Settings, sockets: Mapping[str, socket.socket]) -> Ports:
    """The ports that the sockets have."""
    found = {door: _port(sock) for door, sock in sockets.items()}
    return Ports(settings.host, found.get("http"), found.get("grpc"), found.get("metrics"))


def _port(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])
