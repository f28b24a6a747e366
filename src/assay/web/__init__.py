"""The web of Assay: its API, its pages, and the webhooks that go out."""

from assay.web.application import health_door, web

__all__ = ["health_door", "web"]
