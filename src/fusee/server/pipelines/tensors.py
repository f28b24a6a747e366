"""Declared tensors: what a configuration says, and whether two fit each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fusee.server.proto import model_config_pb2 as proto
from fusee.server.proto.model_config_pb2 import ModelConfig
from fusee.server.types import TensorSpec
from fusee.server.wire import datatype_of_config


def declared_inputs(config: ModelConfig) -> tuple[TensorSpec, ...]:
    """The inputs that a configuration declares, the batch first where there is one."""
    return tuple(_spec(i.name, i.data_type, i.dims, config, i.optional) for i in config.input)


def declared_outputs(config: ModelConfig) -> tuple[TensorSpec, ...]:
    """The outputs that a configuration declares, the batch first where there is one."""
    return tuple(_spec(o.name, o.data_type, o.dims, config, False) for o in config.output)


def _spec(name: str, data_type: int, dims: Iterable[int], config: ModelConfig, is_optional: bool) -> TensorSpec:
    shape = (-1, *dims) if config.max_batch_size > 0 else tuple(dims)
    datatype = datatype_of_config(proto.DataType.Name(proto.DataType.ValueType(data_type)))
    return TensorSpec(name, datatype, shape, is_optional)


def shape_text(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def spec_text(spec: TensorSpec) -> str:
    return f"{spec.datatype}{shape_text(spec.shape)}"


def shapes_fit(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether a tensor can have both shapes, -1 being any size."""
    return len(one) == len(other) and all(a == b or a < 0 or b < 0 for a, b in zip(one, other, strict=True))
