"""The gRPC door: HTTP/2 on the event loop, the Open Inference Protocol's calls on top of it."""

from fusee.server.grpc.door import open_grpc

__all__ = ["open_grpc"]
