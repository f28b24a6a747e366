"""The script, the style and the mark: named by their content's hash, so that they are fetched once."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

_TYPES = {
    "app.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "mark.svg": "image/svg+xml",
}
_CONTENTS = {name: files("assay.web").joinpath("static", name).read_bytes() for name in _TYPES}
_PATHS = {name: f"/static/{hashlib.sha256(content).hexdigest()[:16]}/{name}" for name, content in _CONTENTS.items()}
ROUTE = "/static/{digest}/{name}"


def asset(name: str) -> str:
    """The path of an asset, for templates."""
    return _PATHS[name]


async def serve_asset(request: Request) -> Response:
    name = request.path_params["name"]
    if _PATHS.get(name) != request.url.path:
        raise HTTPException(404, "there is no such file; load the page again")
    headers = {"cache-control": "public, max-age=31536000, immutable"}
    return Response(_CONTENTS[name], media_type=_TYPES[name], headers=headers)
