"""What an operation is: the router, the checks and the OpenAPI document are made from the table of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from assay.cases import Scope
from assay.settings import Settings
from assay.web.call import Handler, Json

JSON = "application/json"
MULTIPART = "multipart/form-data"
PHOTO_TYPES = ("image/jpeg", "image/png", "image/webp")
JSON_LIMIT_BYTES = 64 * 1024
REPORT_LIMIT_BYTES = 4 * 1024 * 1024
FORM_MARGIN_BYTES = 64 * 1024  # of multipart heads and fields


@dataclass(frozen=True)
class Body:
    """What an operation takes: schemas by media type."""

    schemas: Mapping[str, Json]
    limit_bytes: int = JSON_LIMIT_BYTES
    photos: int = 0  # taken besides, each as large as the settings allow

    def limit(self, settings: Settings) -> int:
        return self.limit_bytes + self.photos * settings.upload_bytes


@dataclass(frozen=True)
class Answer:
    """What an operation gives when all went well."""

    status: int
    text: str
    schemas: Mapping[str, Json]


@dataclass(frozen=True)
class Parameter:
    """Of the query or the headers."""

    name: str
    schema: Json
    text: str
    place: str = "query"


@dataclass(frozen=True)
class Operation:
    """One operation. ``path`` has {fields}. A key with any of ``scopes`` may ask; with none, anyone."""

    name: str
    method: str
    path: str
    scopes: tuple[Scope, ...]
    summary: str
    handler: Handler
    answers: tuple[Answer, ...]
    body: Body | None = None
    parameters: tuple[Parameter, ...] = ()
