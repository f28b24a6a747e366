"""The HTTP door: the REST half of the Open Inference Protocol with Triton's extensions."""

from fusee.server.http.door import open_http

__all__ = ["open_http"]
