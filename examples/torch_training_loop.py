"""Natural gradient in an existing PyTorch training loop: two lines change.

    python examples/torch_training_loop.py

A small convolutional network on the handwritten digits of scikit-learn, trained by the same loop with SGD and with K-FAC.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

import curvature as cv
import curvature_torch

Batches = list[tuple[torch.Tensor, torch.Tensor]]


def train_before(model: nn.Module, batches: Batches, epochs: int) -> nn.Module:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(epochs):
        for x, y in batches:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
    return model


def train_after(model: nn.Module, batches: Batches, epochs: int) -> nn.Module:
    optimizer = curvature_torch.NaturalGradient(model, cv.Categorical())
    for _ in range(epochs):
        for x, y in batches:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step((x, y))
    return model


def network() -> nn.Module:
    torch.manual_seed(0)
    convolutions = (nn.Conv2d(1, 8, 3), nn.Tanh(), nn.Conv2d(8, 8, 3), nn.Tanh())
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(128, 32), nn.Tanh(), nn.Linear(32, 10))


def digits(size: int = 128) -> Batches:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(images, dtype=torch.float32)[order].reshape(-1, 1, 8, 8) / 16
    y = torch.tensor(labels)[order]
    return list(zip(x.split(size), y.split(size), strict=True))


def main(epochs: int = 2) -> dict[str, float]:
    """The loss on all digits after each of the two."""
    batches, losses = digits(), {}
    for name, train in (("SGD", train_before), ("natural gradient", train_after)):
        model = train(network(), batches, epochs)
        with torch.no_grad():
            every = torch.cat([model(x) for x, _ in batches])
            losses[name] = float(F.cross_entropy(every, torch.cat([y for _, y in batches])))
        print(f"{name:17s} loss {losses[name]:.4f} after {epochs} epochs")
    return losses


if __name__ == "__main__":
    main()
