"""Which operation or page a path asks for: a tree over the segments of all routes, made once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote

from fusee.server.door import Page
from fusee.server.http.messages import refusal
from fusee.server.operations import INFER, OPERATIONS, Scope


@dataclass(frozen=True)
class Endpoint:
    """What a method on a path asks for: an operation by name, or a page. ``fields`` names the path's {fields}."""

    scope: Scope
    operation: str = ""
    fields: tuple[str, ...] = ()
    page: Page | None = None

    @property
    def name(self) -> str:
        return self.page.path if self.page else self.operation


class Found(NamedTuple):
    """An endpoint and the values that the path gives its fields."""

    endpoint: Endpoint
    arguments: dict[str, str]


@dataclass
class _Node:
    literals: dict[str, _Node] = field(default_factory=dict[str, "_Node"])
    any_segment: _Node | None = None
    endpoints: dict[str, Endpoint] = field(default_factory=dict[str, Endpoint])


class Router:
    """All paths of the protocol and the given pages. A HEAD is answered as its GET."""

    def __init__(self, pages: Iterable[Page]) -> None:
        self._root = _Node()
        for operation in (INFER, *OPERATIONS):
            for method, path in operation.routes:
                segments = path[1:].split("/")
                fields = tuple(s[1:-1] for s in segments if s.startswith("{"))
                self._add(method, segments, Endpoint(operation.scope, operation.name, fields))
        for page in pages:
            self._add("GET", page.path[1:].split("/"), Endpoint(page.scope, page=page))

    def find(self, method: str, path: str) -> Found:
        """The endpoint of a path without its query. Raises Refusal 404, or 405 for another method."""
        segments = [unquote(s) for s in path[1:].split("/")]
        match = _match(self._root, segments, 0)
        if match is None:
            raise refusal(404, f"{path[:200]!r} is not a path of this server; see /openapi.json for those it has")
        endpoints, values = match
        endpoint = endpoints.get("GET" if method == "HEAD" else method)
        if endpoint is None:
            allowed = sorted(endpoints) + (["HEAD"] if "GET" in endpoints else [])
            raise refusal(
                405,
                f"{path[:200]!r} takes {' or '.join(sorted(endpoints))}, not {method}",
                ((b"allow", ", ".join(allowed).encode()),),
            )
        return Found(endpoint, dict(zip(endpoint.fields, values, strict=True)))

    def _add(self, method: str, segments: Sequence[str], endpoint: Endpoint) -> None:
        node = self._root
        for segment in segments:
            if segment.startswith("{"):
                node.any_segment = node.any_segment or _Node()
                node = node.any_segment
            else:
                node = node.literals.setdefault(segment, _Node())
        assert method not in node.endpoints, (method, segments)
        node.endpoints[method] = endpoint


def _match(node: _Node, segments: Sequence[str], at: int) -> tuple[dict[str, Endpoint], tuple[str, ...]] | None:
    """The endpoints of a path and its fields' values. Words go before fields: a model may be called "stats"."""
    if at == len(segments):
        return (node.endpoints, ()) if node.endpoints else None
    segment = segments[at]
    if (child := node.literals.get(segment)) and (match := _match(child, segments, at + 1)):
        return match
    if node.any_segment and segment and (match := _match(node.any_segment, segments, at + 1)):
        return match[0], (segment, *match[1])
    return None
