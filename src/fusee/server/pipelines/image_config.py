"""A model that takes encoded pictures, as its config.pbtxt says it by parameters.

    parameters { key: "image_input" value { string_value: "data" } }      the input that pictures fill
    parameters { key: "image_mean" value { string_value: "0.485,0.456,0.406" } }

and likewise image_std, image_scale (1/255), image_size (height x width, where dims leave them open), image_resize
(stretch, crop, fit, letterbox), image_crop_fraction (of each side that crop keeps), image_interpolation (nearest,
bilinear, bicubic, lanczos) and image_channels (RGB, BGR, GRAY).

Only the first is needed. The request then gives that input as BYTES [N], one picture each, or as the tensor that the
model declares; names and outputs stay the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import TypeVar

import numpy as np

from fusee.base.errors import RequestError
from fusee.images import Channels, ImageSteps, Interpolation, Resize, picture_layout
from fusee.server.errors import ServingError, invalid
from fusee.server.pipelines.tensors import declared_inputs, spec_text
from fusee.server.proto.model_config_pb2 import ModelConfig
from fusee.server.types import TensorSpec
from fusee.server.wire import dtype_of

_INPUT = "image_input"
_KEYS = ("size", "resize", "crop_fraction", "interpolation", "channels", "scale", "mean", "std")
_DATATYPES = ("UINT8", "FP16", "BF16", "FP32", "FP64")
E = TypeVar("E", bound=Enum)


def image_input(config: ModelConfig) -> str | None:
    """The name of the input that encoded pictures may fill."""
    return config.parameters[_INPUT].string_value if _INPUT in config.parameters else None


def image_steps(config: ModelConfig) -> ImageSteps | None:
    """How encoded pictures become that input; None for a model that takes tensors only.

    Raises ServingError naming the model and the parameter that is wrong.
    """
    where = f"model {config.name!r}"
    given = {k: v.string_value for k, v in config.parameters.items() if k.startswith("image_")}
    if not given:
        return None
    if unknown := sorted(set(given) - {_INPUT, *(f"image_{k}" for k in _KEYS)}):
        listed = ", ".join(f"image_{k}" for k in _KEYS)
        raise invalid(f"{where}: parameter {unknown[0]!r} is unknown; expected {_INPUT}, {listed}")
    if _INPUT not in given:
        raise invalid(f"{where}: parameter {next(iter(given))!r} is given, but not {_INPUT}: which input is it for?")
    try:
        return _steps(_input(config, given[_INPUT]), given)
    except (RequestError, ServingError) as err:
        raise invalid(f"{where}: images: {err}") from err


def _input(config: ModelConfig, name: str) -> TensorSpec:
    found = {i.name: i for i in declared_inputs(config)}.get(name)
    if found is None:
        raise invalid(f"{_INPUT} is {name!r}, but the inputs are {', '.join(i.name for i in config.input)}")
    if found.datatype not in _DATATYPES:
        raise invalid(f"input {name!r} is {found.datatype}; pictures become one of {', '.join(_DATATYPES)}")
    if len(found.shape) not in (3, 4):
        raise invalid(f"input {name!r} is {spec_text(found)}; expected [C,H,W] or [H,W,C], perhaps with a batch")
    return found


def _steps(spec: TensorSpec, given: Mapping[str, str]) -> ImageSteps:
    found = picture_layout(spec.shape)
    if found is None:
        raise invalid(f"input {spec.name!r} is {spec_text(spec)}; expected 1 or 3 channels, first or last")
    layout, count, height, width = found
    height, width = _size(given.get("image_size"), (height, width))
    default = Channels.RGB if count == 3 else Channels.GRAY
    steps = ImageSteps(
        height,
        width,
        resize=_choice(given, "resize", Resize, Resize.STRETCH),
        interpolation=_choice(given, "interpolation", Interpolation, Interpolation.BILINEAR),
        channels=_choice(given, "channels", Channels, default),
        layout=layout,
        dtype=np.dtype(dtype_of(spec.datatype).numpy),
    )
    if steps.channel_count != count:
        raise invalid(f"image_channels is {steps.channels.value}, but input {spec.name!r} has {count} channels")
    return _with_numbers(steps, given)


def _with_numbers(steps: ImageSteps, given: Mapping[str, str]) -> ImageSteps:
    return replace(
        steps,
        scale=_numbers(given, "scale", (steps.scale,))[0],
        mean=_numbers(given, "mean", steps.mean),
        std=_numbers(given, "std", steps.std),
        crop_fraction=_numbers(given, "crop_fraction", (steps.crop_fraction,))[0],
    )


def _size(text: str | None, declared: tuple[int, int]) -> tuple[int, int]:
    """Height and width: those declared, and of the parameter those that are not."""
    if text is None:
        if min(declared) < 1:
            raise invalid(f"image_size is missing; the input is {declared[0]}x{declared[1]}, which leaves it open")
        return declared
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isascii() and p.isdigit() for p in parts):
        raise invalid(f"image_size is {text!r}; expected height x width, such as 224x224")
    size = int(parts[0]), int(parts[1])
    if any(d >= 0 and d != s for d, s in zip(declared, size, strict=True)):
        raise invalid(f"image_size is {text}, but the input's height and width are {declared[0]}x{declared[1]}")
    return size


def _choice(given: Mapping[str, str], key: str, options: type[E], default: E) -> E:
    text = given.get(f"image_{key}")
    if text is None:
        return default
    for option in options:
        if option.value == text:
            return option
    raise invalid(f"image_{key} is {text!r}; expected one of {', '.join(o.value for o in options)}")


def _numbers(given: Mapping[str, str], key: str, default: tuple[float, ...]) -> tuple[float, ...]:
    text = given.get(f"image_{key}")
    if text is None:
        return default
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise invalid(f"image_{key} is {text!r}; expected numbers separated by commas") from None
    if not np.isfinite(numbers).all():
        raise invalid(f"image_{key} is {text!r}; expected finite numbers")
    return numbers
