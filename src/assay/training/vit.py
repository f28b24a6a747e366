"""The transformer of ``assay.networks.vit`` as torch trains it."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from assay.networks.graph import Array
from assay.networks.photo import EMBEDDING_CHANNELS, VIEW_COUNT, WIDE
from assay.networks.vit import BLOCKS, HEAD_CHANNELS, HEADS, HIDDEN, TOKENS, TOKENS_ACROSS, VIT_CONVOLUTIONS
from assay.training.backbone import NormedConvolution, Seen, normalised


class Block(nn.Module):
    """Self-attention and a two-layer perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDE), nn.LayerNorm(WIDE)
        self.qkv, self.out = nn.Linear(WIDE, 3 * WIDE), nn.Linear(WIDE, WIDE)
        self.mlp1, self.mlp2 = nn.Linear(WIDE, HIDDEN), nn.Linear(HIDDEN, WIDE)

    def forward(self, tokens: Tensor) -> Tensor:
        heads = self.qkv(self.norm1(tokens)).unflatten(2, (3, HEADS, HEAD_CHANNELS)).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(*heads.unbind(0))
        tokens = tokens + self.out(found.transpose(1, 2).flatten(2))
        return tokens + self.mlp2(functional.relu(self.mlp1(self.norm2(tokens))))


class Pooling(nn.Module):
    """One query attends to all tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDE)
        self.key, self.value, self.out = nn.Linear(WIDE, WIDE), nn.Linear(WIDE, WIDE), nn.Linear(WIDE, WIDE)
        self.query = nn.Parameter(torch.randn(HEADS, HEAD_CHANNELS))

    def forward(self, tokens: Tensor) -> Tensor:
        normal = self.norm(tokens)
        keys, values = (
            layer(normal).unflatten(2, (HEADS, HEAD_CHANNELS)).transpose(1, 2) for layer in (self.key, self.value)
        )
        query = self.query[None, :, None].expand(len(tokens), -1, -1, -1).to(keys.dtype)
        found = functional.scaled_dot_product_attention(query, keys, values)
        return self.out(found.flatten(1))


class VitNetwork(nn.Module):
    """Takes and tells what ``PhotoNetwork`` does."""

    def __init__(self) -> None:
        super().__init__()
        normed = {name: sizes for name, sizes in VIT_CONVOLUTIONS.items() if name != "patch"}
        self.layers = nn.ModuleDict({name: NormedConvolution(sizes, False) for name, sizes in normed.items()})
        patch = VIT_CONVOLUTIONS["patch"]
        self.patch = nn.Conv2d(patch.inputs, patch.outputs, patch.kernel)
        self.position = nn.Parameter(0.02 * torch.randn(TOKENS, WIDE))
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.last = Pooling()
        self.view = nn.Linear(WIDE, VIEW_COUNT)
        self.embed = nn.Linear(WIDE, EMBEDDING_CHANNELS)

    def forward(self, photo: Tensor) -> Seen:
        x = normalised(photo) if photo.dtype == torch.uint8 else photo
        for layer in ("stem", "down4", "down8"):
            x = functional.relu(self.layers[layer](x))
        tokens = functional.relu(self.layers["down16"](x)).flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            tokens = block(tokens)
        features = self._fused(x, tokens)
        patches = functional.normalize(self.patch(features).flatten(2).transpose(1, 2).float(), dim=-1)
        pooled = self.last(tokens).float()
        embedding = functional.normalize(self.embed(pooled).float(), dim=-1)
        return Seen(features, patches, embedding, self.view(pooled).float())

    def _fused(self, x8: Tensor, tokens: Tensor) -> Tensor:
        grid = self.layers["up8"](tokens.transpose(1, 2).unflatten(2, (TOKENS_ACROSS, TOKENS_ACROSS)))
        joined = functional.relu(x8 + functional.interpolate(grid, scale_factor=2.0))
        return functional.relu(self.layers["fuse"](joined))


def exported_vit(network: VitNetwork) -> dict[str, Array]:
    """The weights by the names of ``vit_weight_shapes``, normalisations of convolutions folded."""
    found: dict[str, Tensor] = {"position": network.position, "query": network.last.query}
    for name, layer in network.layers.items():
        found[f"{name}.weight"], found[f"{name}.bias"] = cast(NormedConvolution, layer).folded()
    found |= {"patch.weight": network.patch.weight, "patch.bias": cast(Tensor, network.patch.bias)}
    parts = {str(i): block for i, block in enumerate(network.blocks)} | {"last": network.last}
    for prefix, part in parts.items():
        for name, module in part.named_children():
            found |= _matrices(f"{prefix}.{name}", module)
    found |= _matrices("view", network.view) | _matrices("embedding", network.embed)
    return {name: np.ascontiguousarray(w.detach().float().cpu().numpy()) for name, w in found.items()}


def _matrices(name: str, module: nn.Module) -> dict[str, Tensor]:
    assert isinstance(module, (nn.Linear, nn.LayerNorm)), name
    weight = module.weight.T if isinstance(module, nn.Linear) else module.weight
    return {f"{name}.weight": weight, f"{name}.bias": module.bias}
