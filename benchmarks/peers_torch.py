"""The same operations by other PyTorch libraries, where they are installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import torch
from networks import Network


def module(network: Network) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    """The network as a torch.nn.Sequential, with its data."""
    layers: list[torch.nn.Module] = []
    parameters = network.parameters()
    for values, stride in zip(parameters, network.strides, strict=True):
        shape = values["weight"].shape
        if stride:
            layer: torch.nn.Module = torch.nn.Conv2d(shape[1], shape[0], shape[2:], stride=stride, padding=1)
        else:
            layer = torch.nn.Linear(shape[1], shape[0])
            if layers and len(network.inputs) > 1:
                layers.append(torch.nn.Flatten())
        layer.weight.data = torch.tensor(values["weight"])
        layer.bias.data = torch.tensor(values["bias"])
        layers.append(layer)
        if values is not parameters[-1]:
            layers.append(torch.nn.ReLU())
    x, y = network.data()
    return torch.nn.Sequential(*layers), torch.tensor(x), torch.tensor(y)


def gradient(network: Network) -> Callable[[], object]:
    """The unit of the table: loss and gradient by plain PyTorch."""
    net, x, y = module(network)
    params = list(net.parameters())

    def run() -> object:
        return torch.autograd.grad(torch.nn.functional.cross_entropy(net(x), y), params)

    return run


_DISTRIBUTIONS = {"curvlinops": "curvlinops-for-pytorch", "backpack": "backpack-for-pytorch", "nngeometry": "nngeometry"}


def installed(*names: str) -> dict[str, str]:
    """Versions of those of the peers that can be measured here."""
    found = {}
    for name in names:
        if find_spec(name) is not None:
            try:
                found[name] = version(_DISTRIBUTIONS[name])
            except PackageNotFoundError:
                found[name] = "unknown"
    return found


def operations(network: Network) -> dict[str, dict[str, Callable[[], object]]]:
    """{peer: {operation: function}}."""
    available = installed("curvlinops", "backpack")
    result: dict[str, dict[str, Callable[[], object]]] = {}
    if "curvlinops" in available:
        result["curvlinops"] = _curvlinops(network)
    if "backpack" in available:
        result["BackPACK"] = _backpack(network)
    return result


def _curvlinops(network: Network) -> dict[str, Callable[[], object]]:
    import curvlinops as cl

    net, x, y = module(network)
    params = list(net.parameters())
    loss, batches = torch.nn.CrossEntropyLoss(), [(x, y)]
    v = [torch.randn_like(p) for p in params]
    options: dict[str, Any] = {"check_deterministic": False}
    hessian = cl.HessianLinearOperator(net, loss, params, batches, **options)
    ggn = cl.GGNLinearOperator(net, loss, params, batches, **options)
    empirical = cl.EFLinearOperator(net, loss, params, batches, **options)

    def kfac(kind: str) -> Callable[[], object]:
        def run() -> object:
            operator = cl.KFACLinearOperator(
                net, loss, params, batches, fisher_type=kind, separate_weight_and_bias=False, **options
            )
            return operator.compute_kronecker_factors()

        return run

    return {
        "Hessian product": lambda: hessian @ v,
        "GGN product": lambda: ggn @ v,
        "Fisher product": lambda: ggn @ v,  # the type-2 Fisher of a cross-entropy is its GGN
        "empirical Fisher product": lambda: empirical @ v,
        "K-FAC statistics, exact": kfac("type-2"),
        "K-FAC statistics, Monte Carlo": kfac("mc"),
        "K-FAC statistics, empirical": kfac("empirical"),
    }


def _backpack(network: Network) -> dict[str, Callable[[], object]]:
    from backpack.extensions import KFAC, KFLR, DiagGGNExact, SumGradSquared

    with_extension = backward_with(network)
    return {
        "K-FAC statistics, exact": with_extension(KFLR),
        "K-FAC statistics, Monte Carlo": with_extension(lambda: KFAC(mc_samples=1)),
        "diagonal of the GGN": with_extension(DiagGGNExact),
        "diagonal empirical Fisher": with_extension(SumGradSquared),
    }


def backward_with(network: Network) -> Callable[[Callable[[], Any]], Callable[[], object]]:
    """From a maker of one of BackPACK's extensions, the backward pass that computes it."""
    from backpack import backpack, extend

    net, x, y = module(network)
    net, loss = extend(net), extend(torch.nn.CrossEntropyLoss())

    def with_extension(make: Callable[[], Any]) -> Callable[[], object]:
        def run() -> object:
            net.zero_grad()
            with backpack(make()):
                loss(net(x), y).backward()
            return None

        return run

    return with_extension
