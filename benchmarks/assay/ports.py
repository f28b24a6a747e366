"""Ports for servers that are started here."""

from __future__ import annotations

import socket


def free_port() -> int:
    """One that nobody listens on now. A server that is killed and started again keeps it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
