"""The photo network as torch trains it: the layers of ``assay.networks.photo``, each with its BatchNormalization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from assay.networks.graph import Array
from assay.networks.photo import (
    CONVOLUTIONS,
    EMBEDDING_CHANNELS,
    MEAN,
    STD,
    WIDE,
    Convolution,
)

_PLAIN = ("patch", "view")  # heads: nothing normalises what they give


class Seen(NamedTuple):
    """What the network tells of N photos."""

    features: Tensor  # [N, 128, 40, 40]
    patches: Tensor  # f32[N, 1600, 64], unit vectors
    embedding: Tensor  # f32[N, 128], unit vectors
    view_logit: Tensor  # f32[N, 6]


class NormedConvolution(nn.Module):
    """A convolution and the normalisation that export folds into it."""

    def __init__(self, sizes: Convolution, is_residual: bool) -> None:
        super().__init__()
        inputs, outputs, kernel, stride = sizes
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        if is_residual:
            nn.init.zeros_(self.norm.weight)  # a block begins as the identity

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))

    def folded(self) -> tuple[Tensor, Tensor]:
        """Kernel and bias of the one convolution that both are in evaluation mode."""
        mean, variance = cast(Tensor, self.norm.running_mean), cast(Tensor, self.norm.running_var)
        scale = self.norm.weight / (variance + self.norm.eps).sqrt()
        return self.conv.weight * scale[:, None, None, None], self.norm.bias - mean * scale

    def unfold(self, kernel: Tensor, bias: Tensor) -> None:
        """Takes over a convolution that a normalisation was folded into."""
        self.conv.weight.copy_(kernel)
        nn.init.ones_(self.norm.weight)
        self.norm.bias.copy_(bias)
        cast(Tensor, self.norm.running_mean).zero_()
        cast(Tensor, self.norm.running_var).fill_(1 - self.norm.eps)


class PhotoNetwork(nn.Module):
    """Photos u8[N, 320, 320, 3] or, already normalised, f32[N, 3, 320, 320]; see ``photo_network`` for the outputs."""

    def __init__(self) -> None:
        super().__init__()
        normed = {name: sizes for name, sizes in CONVOLUTIONS.items() if name not in _PLAIN}
        self.layers = nn.ModuleDict(
            {_key(name): NormedConvolution(sizes, name.endswith(".second")) for name, sizes in normed.items()}
        )
        heads = {name: CONVOLUTIONS[name] for name in _PLAIN}
        self.heads = nn.ModuleDict({name: nn.Conv2d(h.inputs, h.outputs, h.kernel) for name, h in heads.items()})
        self.embed = nn.Linear(WIDE, EMBEDDING_CHANNELS)

    def forward(self, photo: Tensor) -> Seen:
        features = self.features(normalised(photo) if photo.dtype == torch.uint8 else photo)
        pooled = features.float().mean((2, 3))
        patches = self.heads["patch"](features).flatten(2).transpose(1, 2).float()
        view = cast(nn.Conv2d, self.heads["view"])
        view_logit = functional.linear(pooled, view.weight.flatten(1), view.bias)
        embedding = functional.normalize(self.embed(pooled).float(), dim=-1)
        return Seen(features, functional.normalize(patches, dim=-1), embedding, view_logit.float())

    def features(self, x: Tensor) -> Tensor:
        x4 = self._down(self._down(x, "stem"), "down4")
        x4 = self._residual(self._residual(x4, "block4"), "block4b")
        x8 = self._residual(self._down(x4, "down8"), "block8")
        x16 = self._residual(self._down(x8, "down16"), "block16")
        x32 = self._residual(self._down(x16, "down32"), "block32")
        return self._down(self._join(x8, self._join(x16, x32, "up16"), "up8"), "fuse")

    def _down(self, x: Tensor, layer: str) -> Tensor:
        return functional.relu(self.layers[_key(layer)](x))

    def _residual(self, x: Tensor, block: str) -> Tensor:
        y = self._down(x, f"{block}.first")
        return functional.relu(x + self.layers[_key(f"{block}.second")](y))

    def _join(self, fine: Tensor, coarse: Tensor, layer: str) -> Tensor:
        return functional.relu(fine + functional.interpolate(self.layers[_key(layer)](coarse), scale_factor=2.0))


def normalised(photo: Tensor) -> Tensor:
    """u8[N, H, W, 3] as f32[N, 3, H, W], channels running fastest in memory."""
    return ((photo.float() - MEAN) / STD).permute(0, 3, 1, 2)


def exported(network: PhotoNetwork) -> dict[str, Array]:
    """The weights by the names of ``weight_shapes``, normalisations folded."""
    found: dict[str, Tensor] = {}
    for name in CONVOLUTIONS:
        if name in _PLAIN:
            head = cast(nn.Conv2d, network.heads[name])
            kernel, bias = head.weight, cast(Tensor, head.bias)
        else:
            kernel, bias = cast(NormedConvolution, network.layers[_key(name)]).folded()
        found |= {f"{name}.weight": kernel, f"{name}.bias": bias}
    found |= {"embedding.weight": network.embed.weight.T, "embedding.bias": network.embed.bias}
    return {name: np.ascontiguousarray(w.detach().float().cpu().numpy()) for name, w in found.items()}


@torch.no_grad()
def restored(weights: Mapping[str, Array]) -> PhotoNetwork:
    """The network that ``exported`` gave these weights, in evaluation mode: its normalisations change nothing yet."""
    network = PhotoNetwork().eval()
    found = {name: torch.from_numpy(values) for name, values in weights.items()}
    for name in CONVOLUTIONS:
        if name in _PLAIN:
            head = cast(nn.Conv2d, network.heads[name])
            head.weight.copy_(found[f"{name}.weight"])
            cast(Tensor, head.bias).copy_(found[f"{name}.bias"])
        else:
            cast(NormedConvolution, network.layers[_key(name)]).unfold(found[f"{name}.weight"], found[f"{name}.bias"])
    network.embed.weight.copy_(found["embedding.weight"].T)
    network.embed.bias.copy_(found["embedding.bias"])
    return network


def _key(layer: str) -> str:
    """torch keeps dots for itself."""
    return layer.replace(".", "_")
