"""Trains the digits network on real scans and writes digits.onnx and digits_test.npz beside this file.

Needs PyTorch and scikit-learn; nothing else in this repository does. Run: ``python models/digits/train.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional

FOLDER = Path(__file__).parent
SEED, EPOCHS, BATCH, HELD_OUT = 2024, 60, 64, 450
OPSET = 17


class Residual(nn.Module):
    """Two 3x3 convolutions beside the input itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(x + self.bn2(self.conv2(y)))


class Digits(nn.Module):
    """Scans [N,1,8,8] in 0..1 -> logits [N,10]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 24, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(24)
        self.block1 = Residual(24)
        self.widen = nn.Conv2d(24, 40, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(40)
        self.block2 = Residual(40)
        self.fc = nn.Linear(40, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block1(functional.relu(self.bn1(self.stem(x))))
        x = functional.max_pool2d(x, 2)
        x = self.block2(functional.relu(self.bn2(self.widen(x))))
        return self.fc(functional.adaptive_avg_pool2d(x, 1).flatten(1))


def split_scans() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images, held-out images (f32 [N,1,8,8] in 0..1), training labels, held-out labels (i64 [N])."""
    scans = load_digits()
    images = (scans.images / 16.0).astype(np.float32)[:, None]
    labels = scans.target.astype(np.int64)
    return tuple(train_test_split(images, labels, test_size=HELD_OUT, random_state=SEED, stratify=labels))


def shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """The images moved by up to one pixel, each by its own amount."""
    padded = functional.pad(images, (1, 1, 1, 1))
    moves = torch.randint(0, 3, (len(images), 2), generator=generator).tolist()
    return torch.stack([padded[i, :, y : y + 8, x : x + 8] for i, (y, x) in enumerate(moves)])


def train(images: Tensor, labels: Tensor) -> Digits:
    """The network after EPOCHS passes over shuffled, shifted images."""
    network = Digits()
    generator = torch.Generator().manual_seed(SEED)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    steps = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=6e-3, total_steps=steps)
    for _ in range(EPOCHS):
        order = torch.randperm(len(images), generator=generator)
        for rows in order[: len(order) // BATCH * BATCH].split(BATCH):
            optimiser.zero_grad()
            logits = network(shifted(images[rows], generator))
            functional.cross_entropy(logits, labels[rows], label_smoothing=0.05).backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def export(network: Digits) -> None:
    """Writes the network as one file, its batch dimension named N and BatchNormalization kept as nodes."""
    torch.onnx.export(
        network,
        (torch.zeros(2, 1, 8, 8),),
        str(FOLDER / "digits.onnx"),
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}},
        opset_version=OPSET,
        do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE,
        dynamo=False,
    )


def main() -> None:
    """Trains, writes both files, and prints the accuracy on the held-out scans."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    images, held_out, labels, held_out_labels = split_scans()
    network = train(torch.from_numpy(images), torch.from_numpy(labels))
    with torch.no_grad():
        answers = network(torch.from_numpy(held_out)).argmax(1).numpy()
    export(network)
    np.savez_compressed(FOLDER / "digits_test.npz", images=held_out, labels=held_out_labels)
    right = int((answers == held_out_labels).sum())
    count = sum(weights.numel() for weights in network.parameters())
    print(f"{count:,} parameters; {right} of {len(held_out)} held-out scans right: {right / len(held_out):.4f}")


if __name__ == "__main__":
    main()
