"""Where webhooks may go: public addresses alone, so that nobody makes us ask our own network.

The address that was checked is the one that is connected to: a name that resolves otherwise a moment later changes
nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit, urlunsplit

from assay.errors import invalid

_PORTS = {"https": 443, "http": 80}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052


class Destination(NamedTuple):
    """A webhook's URL with the address to connect to."""

    url: SplitResult
    address: str

    @property
    def host(self) -> str:
        return self.url.hostname or ""

    @property
    def port(self) -> int:
        return self.url.port or _PORTS[self.url.scheme]

    @property
    def target(self) -> str:
        """What is asked of the host: path and query."""
        return urlunsplit(("", "", self.url.path or "/", self.url.query, ""))


def webhook_url(text: str, allow_private: bool) -> SplitResult:
    """A URL that may be kept. Raises Refusal INVALID; https is asked for unless private ones are allowed."""
    schemes = ("https", "http") if allow_private else ("https",)
    expected = f"webhook URL {text[:80]!r}; expected {' or '.join(schemes)}://host/path without a user name"
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as err:
        raise invalid(expected) from err
    if url.scheme not in schemes or not url.hostname or url.username or port == 0 or not text.isprintable():
        raise invalid(expected)
    return url


def resolved(text: str, allow_private: bool) -> Destination:
    """The URL's destination. Raises Refusal INVALID when any address of its host is not public; OSError when the host
    is not found."""
    url = webhook_url(text, allow_private)
    port = url.port or _PORTS[url.scheme]
    found = socket.getaddrinfo(url.hostname, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not allow_private:
        for address in addresses:
            _expect_public(address, url.hostname or "")
    return Destination(url, addresses[0])


def _expect_public(address: str, host: str) -> None:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    inner = _embedded(parsed) if parsed.version == 6 else parsed
    if not parsed.is_global or not inner.is_global or parsed.is_multicast:
        raise invalid(f"webhook host {host!r} is at {address}, which is not public; expected a host of the internet")


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that packets to this one end at (mapped, 6to4, NAT64), or itself."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address
