"""Dense networks whose parameters are NumPy arrays at the start, so that any library can train them from the same ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import ModuleProblem

Layers = list[dict[str, Any]]


class LayeredProblem(ModuleProblem):
    """A dense network, ``activation`` between its layers.

    Attributes:
        layers: {"weight": (d_in, d_out), "bias": (d_out,)} of every layer at the start.
        linear: layers that no activation follows.
        l2: weight of ½ ‖weights and biases‖² in the objective.
    """

    activation: str
    layers: Layers
    linear: tuple[int, ...]
    l2: float = 0.0
    arrays: tuple[np.ndarray, np.ndarray]

    def module(self) -> Any:
        import torch

        modules: list[Any] = []
        for number, layer in enumerate(self.layers):
            outputs, inputs = layer["weight"].shape[::-1]
            dense = torch.nn.Linear(inputs, outputs)
            with torch.no_grad():
                dense.weight.copy_(torch.from_numpy(layer["weight"].T.copy()))
                dense.bias.copy_(torch.from_numpy(layer["bias"]))
            modules.append(dense)
            if number not in self.linear:
                modules.append({"sigmoid": torch.nn.Sigmoid, "tanh": torch.nn.Tanh}[self.activation]())
        return torch.nn.Sequential(*modules).to(self.device)

    def data(self) -> tuple[Any, Any]:
        import torch

        x, y = self.arrays
        return torch.from_numpy(x).to(self.device), torch.from_numpy(y).to(self.device)

    def criterion(self, outputs: Any, y: Any) -> Any:
        """The mean loss of a batch."""
        raise NotImplementedError

    def loss(self, module: Any, x: Any, y: Any) -> Any:
        value = self.criterion(module(x), y)
        if self.l2:
            value = value + 0.5 * self.l2 * sum((p * p).sum() for p in module.parameters())
        return value

    def measure(self, params: Any) -> dict[str, float]:
        return self.measure_layers(as_layers(params))

    def measure_layers(self, layers: Layers) -> dict[str, float]:
        """The figures of ``measure``."""
        raise NotImplementedError

    def forward(self, layers: Layers, x: np.ndarray) -> Any:
        """Outputs, in the library of the layers: two that compute by turns would keep each other's threads waiting."""
        tanh: Any = np.tanh
        if not isinstance(layers[0]["weight"], np.ndarray):
            import torch

            x, tanh = torch.from_numpy(x).to(self.device), torch.tanh
        for number, layer in enumerate(layers):
            x = x @ layer["weight"] + layer["bias"]
            if number not in self.linear:
                x = tanh(x) if self.activation == "tanh" else 0.5 + 0.5 * tanh(0.5 * x)
        return x


def as_layers(params: Any) -> Layers:
    """Layers from a module, from named parameters of one (of PyTorch), or from such layers in any library (of NumPy)."""
    if hasattr(params, "named_parameters"):
        params = dict(params.named_parameters())
    if isinstance(params, dict):
        arrays = [value.detach() for value in params.values()]  # weight, bias, weight, …
        return [{"weight": w.T, "bias": b} for w, b in zip(arrays[::2], arrays[1::2], strict=True)]
    return [{name: np.asarray(value) for name, value in layer.items()} for layer in params]
