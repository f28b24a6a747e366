"""Pages of browsers, kept from a server that asks this machine's callers for no key.

A page of any site may send requests to 127.0.0.1. It names its site in ``origin``; a page whose own name was made to
lead here (DNS rebinding) is not told from this server's own by that, but comes under that name in ``host``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from fusee.server.http.messages import refusal

_NAME_CHARACTERS = 100  # of a name, in an error


def check_site(headers: Mapping[str, str]) -> None:
    """Raises Refusal 403 for a request of another site's page."""
    host, origin = headers.get("host", ""), headers.get("origin")
    if host and not _is_this_machine(host):
        raise refusal(
            403,
            f"host {host[:_NAME_CHARACTERS]!r} is no name of this machine; a server without keys answers to localhost "
            "and addresses alone: give it --keys-file, or --allow-anonymous behind a proxy",
        )
    if origin is not None and origin.partition("://")[2] != host:
        raise refusal(
            403,
            f"origin {origin[:_NAME_CHARACTERS]!r} is another site; a server without keys takes no requests of its "
            "pages: give it --keys-file",
        )


def _is_this_machine(host: str) -> bool:
    """Whether a Host header has an address, or a name that no resolver but this machine's own decides."""
    name = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    if name.lower() == "localhost" or name.lower().endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
