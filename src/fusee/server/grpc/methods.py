"""Every call that the door offers, by its path."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from fusee.server.grpc.documents import RPCS
from fusee.server.grpc.health import INFERENCE_SERVICE, WatchCall, check
from fusee.server.grpc.service import Method
from fusee.server.grpc.streaming import StreamCall
from fusee.server.grpc.unary import InferCall, OperationCall
from fusee.server.operations import INFER, STREAM_INFER, Scope

_HEALTH_SERVICE = "grpc.health.v1.Health"

METHODS: Mapping[str, Method] = {
    f"/{INFERENCE_SERVICE}/{INFER.rpc}": Method(INFER.rpc, INFER.scope, InferCall),
    f"/{INFERENCE_SERVICE}/{STREAM_INFER.rpc}": Method(STREAM_INFER.rpc, STREAM_INFER.scope, StreamCall),
    **{
        f"/{INFERENCE_SERVICE}/{name}": Method(name, rpc.operation.scope, partial(OperationCall, rpc.respond))
        for name, rpc in RPCS.items()
    },
    f"/{_HEALTH_SERVICE}/Check": Method("Health/Check", Scope.OPEN, partial(OperationCall, check)),
    f"/{_HEALTH_SERVICE}/Watch": Method("Health/Watch", Scope.OPEN, WatchCall),
}
