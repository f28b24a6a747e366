"""The web of Assay: its API, its pages, and the webhooks that go out."""

from assay.web.application import web

__all__ = ["web"]
