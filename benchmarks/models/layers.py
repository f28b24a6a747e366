"""Layers in the spelling of torch.onnx.export; their weights keep activations near a standard deviation of 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.models import calibration
from benchmarks.models.writer import Array, GraphWriter, Tensor


def conv(
    w: GraphWriter,
    x: Tensor,
    channels: int,
    kernel: int = 1,
    stride: int = 1,
    pad: int | None = None,
    groups: int = 1,
    bias: bool = False,
) -> Tensor:
    """Square convolution, padded to keep the size unless ``pad`` says otherwise; results vary with a deviation of 1."""
    inputs, height, width = (x.sized(axis) for axis in (1, 2, 3))
    pad = kernel // 2 if pad is None else pad
    filters = w.normal((channels, inputs // groups, kernel, kernel), (inputs // groups * kernel * kernel) ** -0.5)
    sample = None
    if x.sample is not None:
        sample = _fitted(filters, calibration.convolve(x.sample, filters, stride, pad))
    operands = [x, w.weight("weight", filters)]
    if bias:
        operands.append(w.weight("bias", w.normal((channels,), 0.1)))
    name = w.node(
        "Conv",
        operands,
        dilations=[1, 1],
        group=groups,
        kernel_shape=[kernel, kernel],
        pads=[pad] * 4,
        strides=[stride, stride],
    )
    size = [(edge + 2 * pad - kernel) // stride + 1 for edge in (height, width)]
    return Tensor(name, (w.batch, channels, *size), sample)


def _fitted(weights: Array, results: Array) -> Array:
    """Scales weights in place so that their results deviate by 1, and gives those results."""
    scale = 1 / calibration.spread(results)
    weights *= scale
    return results * scale


def batch_norm(w: GraphWriter, x: Tensor, epsilon: float = 1e-5, gain: float = 1.0) -> Tensor:
    """Normalisation by stored statistics: those of the calibration pictures, up to what another sample would change.

    Shifts are positive on average: about zero, every activation would enlarge differences a little, and after sixty
    layers rounding errors would show.
    """
    channels = x.sized(1)
    mean, variance = np.zeros(channels, np.float32), np.ones(channels, np.float32)
    if x.sample is not None:
        mean, variance = calibration.channel_statistics(x.sample)
    mean = mean + np.sqrt(variance) * w.normal((channels,), 0.1)
    variance = variance * w.uniform((channels,), 0.8, 1.25)
    scale = w.uniform((channels,), 0.4 * gain, 0.8 * gain)
    shift = w.normal((channels,), 0.15 * gain) + np.float32(0.4 * gain)
    named = {"weight": scale, "bias": shift, "running_mean": mean, "running_var": variance}
    operands = [x, *(w.weight(name, values) for name, values in named.items())]
    name = w.node("BatchNormalization", operands, epsilon=epsilon, momentum=0.9)
    slope = scale / np.sqrt(variance + np.float32(epsilon))
    return _mapped(x, name, lambda v: (v - mean[:, None, None]) * slope[:, None, None] + shift[:, None, None])


def conv_bn(
    w: GraphWriter,
    x: Tensor,
    channels: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    names: tuple[str, str] = ("conv", "bn"),
    epsilon: float = 1e-5,
    gain: float = 1.0,
) -> Tensor:
    """Convolution without bias and its normalisation, in modules of these names."""
    with w.scope(names[0]):
        x = conv(w, x, channels, kernel, stride, groups=groups)
    with w.scope(names[1]):
        return batch_norm(w, x, epsilon, gain)


def _mapped(x: Tensor, name: str, function: Callable[[Array], Array]) -> Tensor:
    """A value of the shape of ``x`` under another name, its sample computed from that of ``x``."""
    return replace(x, name=name, sample=None if x.sample is None else function(x.sample))


def relu(w: GraphWriter, x: Tensor) -> Tensor:
    """max(x, 0)."""
    return _mapped(x, w.node("Relu", (x,)), lambda v: np.maximum(v, 0))


def leaky_relu(w: GraphWriter, x: Tensor, alpha: float) -> Tensor:
    """x where it is positive, alpha x elsewhere."""
    return _mapped(x, w.node("LeakyRelu", (x,), alpha=alpha), lambda v: np.where(v > 0, v, np.float32(alpha) * v))


def sigmoid(w: GraphWriter, x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return _mapped(x, w.node("Sigmoid", (x,)), calibration.logistic)


def silu(w: GraphWriter, x: Tensor) -> Tensor:
    """x sigmoid(x), as the Sigmoid and the Mul that exporters write."""
    return product(w, x, sigmoid(w, x))


def hard_sigmoid(w: GraphWriter, x: Tensor) -> Tensor:
    """min(max(x / 6 + 1/2, 0), 1)."""
    return _mapped(x, w.node("HardSigmoid", (x,), alpha=1 / 6, beta=0.5), calibration.ramp)


def hard_swish(w: GraphWriter, x: Tensor) -> Tensor:
    """x hard_sigmoid(x), as one node."""
    return _mapped(x, w.node("HardSwish", (x,)), lambda v: v * calibration.ramp(v))


def gelu(w: GraphWriter, x: Tensor) -> Tensor:
    """x (1 + erf(x / sqrt 2)) / 2, as the five nodes that exporters write below opset 20."""
    scaled = w.node("Div", (x, w.constant(np.sqrt(2.0))))
    shifted = w.node("Add", (w.node("Erf", (scaled,)), w.constant(1.0)))
    doubled = w.node("Mul", (x, shifted))
    return Tensor(w.node("Mul", (doubled, w.constant(0.5))), x.shape)


def product(w: GraphWriter, x: Tensor, y: Tensor) -> Tensor:
    """x times y, which may broadcast to it."""
    sample = x.sample * y.sample if x.sample is not None and y.sample is not None else None
    return replace(x, name=w.node("Mul", (x, y)), sample=sample)


def squeeze_excite(
    w: GraphWriter,
    x: Tensor,
    squeezed: int,
    activation: Callable[[GraphWriter, Tensor], Tensor],
    gate: Callable[[GraphWriter, Tensor], Tensor],
) -> Tensor:
    """Channels scaled by a gate computed from their means over the map (Hu et al., 2018)."""
    y = global_average(w, x)
    with w.scope("fc1"):
        y = conv(w, y, squeezed, bias=True)
    y = activation(w, y)
    with w.scope("fc2"):
        y = conv(w, y, x.sized(1), bias=True)
    return product(w, x, gate(w, y))


def max_pool(w: GraphWriter, x: Tensor, kernel: int, stride: int, pad: int) -> Tensor:
    """Largest element of each window."""
    height, width = ((x.sized(axis) + 2 * pad - kernel) // stride + 1 for axis in (2, 3))
    name = w.node("MaxPool", (x,), kernel_shape=[kernel] * 2, pads=[pad] * 4, strides=[stride] * 2)
    y = _mapped(x, name, lambda v: calibration.pool_maximum(v, kernel, stride, pad))
    return replace(y, shape=(*x.shape[:2], height, width))


def global_average(w: GraphWriter, x: Tensor) -> Tensor:
    """Mean over the map: [N,C,H,W] -> [N,C,1,1]."""
    y = _mapped(x, w.node("GlobalAveragePool", (x,)), lambda v: v.mean((2, 3), keepdims=True))
    return replace(y, shape=(*x.shape[:2], 1, 1))


def nearest(w: GraphWriter, x: Tensor, factor: int, *size: str) -> Tensor:
    """Every pixel repeated ``factor`` times in both directions; ``size`` are the operands of Resize that say so."""
    name = w.node(
        "Resize",
        (x, "", *size),
        coordinate_transformation_mode="asymmetric",
        cubic_coeff_a=-0.75,
        mode="nearest",
        nearest_mode="floor",
    )
    y = _mapped(x, name, lambda v: calibration.repeat_pixels(v, factor))
    return replace(y, shape=(*x.shape[:2], x.sized(2) * factor, x.sized(3) * factor))


def flatten(w: GraphWriter, x: Tensor) -> Tensor:
    """[N,...] -> [N,features]."""
    features = int(np.prod([x.sized(axis) for axis in range(1, len(x.shape))]))
    y = _mapped(x, w.node("Flatten", (x,), axis=1), lambda v: v.reshape(len(v), -1))
    return replace(y, shape=(x.shape[0], features))


def gemm(w: GraphWriter, x: Tensor, features: int) -> Tensor:
    """Fully connected layer on [N,inputs]: Gemm, weights [features,inputs]."""
    weights = w.normal((features, x.sized(1)), x.sized(1) ** -0.5)
    sample = None if x.sample is None else _fitted(weights, x.sample @ weights.T)
    operands = (x, w.weight("weight", weights), w.weight("bias", w.normal((features,), 0.1)))
    return Tensor(w.node("Gemm", operands, alpha=1.0, beta=1.0, transB=1), (x.shape[0], features), sample)


def linear(w: GraphWriter, x: Tensor, features: int, bias: bool = True) -> Tensor:
    """Fully connected layer on the last axis: MatMul with weights [inputs,features], then Add."""
    weights = w.normal((x.sized(-1), features), x.sized(-1) ** -0.5)
    name = w.node("MatMul", (x, w.weight("weight", weights)))
    if bias:
        name = w.node("Add", (w.weight("bias", w.normal((features,), 0.1)), name))
    return Tensor(name, (*x.shape[:-1], features))


def _scale_and_shift(w: GraphWriter, features: int) -> tuple[str, str]:
    return w.weight("weight", w.uniform((features,), 0.8, 1.2)), w.weight("bias", w.normal((features,), 0.1))


def layer_norm(w: GraphWriter, x: Tensor, epsilon: float) -> Tensor:
    """Normalisation over the last axis, as one LayerNormalization."""
    name = w.node("LayerNormalization", (x, *_scale_and_shift(w, x.sized(-1))), axis=-1, epsilon=epsilon)
    return Tensor(name, x.shape)


def layer_norm_chain(w: GraphWriter, x: Tensor, epsilon: float) -> Tensor:
    """Normalisation over the last axis, as the nine nodes that exporters write below opset 17."""
    centred = w.node("Sub", (x, w.node("ReduceMean", (x,), axes=[-1], keepdims=1)))
    square = w.node("Pow", (centred, w.constant(2.0)))
    variance = w.node("Add", (w.node("ReduceMean", (square,), axes=[-1], keepdims=1), w.constant(epsilon)))
    normal = w.node("Div", (centred, w.node("Sqrt", (variance,))))
    scale, shift = _scale_and_shift(w, x.sized(-1))
    return Tensor(w.node("Add", (w.node("Mul", (normal, scale)), shift)), x.shape)
