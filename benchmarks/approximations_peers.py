"""The same approximations by other PyTorch libraries, where they are installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from approximations_ours import DAMPING
from networks import Network
from peers_torch import backward_with, installed, module


def versions() -> dict[str, str]:
    """Versions of the peers that can be measured here."""
    return installed("curvlinops", "backpack", "nngeometry")


def operations(network: Network) -> dict[str, dict[str, Callable[[], object]]]:
    """{peer: {operation: function}}."""
    makers = {
        "curvlinops": ("curvlinops", _curvlinops),
        "backpack": ("BackPACK", _backpack),
        "nngeometry": ("nngeometry", _nngeometry),
    }
    return {makers[name][0]: makers[name][1](network) for name in versions()}


def _curvlinops(network: Network) -> dict[str, Callable[[], object]]:
    import curvlinops as cl

    net, x, y = module(network)
    params = list(net.parameters())
    loss, batches = torch.nn.CrossEntropyLoss(), [(x, y)]
    options: dict[str, Any] = {"check_deterministic": False}
    joined = options | {"separate_weight_and_bias": False}
    ggn = cl.GGNLinearOperator(net, loss, params, batches, **options)
    hessian = cl.HessianLinearOperator(net, loss, params, batches, **options)
    gradient = list(torch.autograd.grad(loss(net(x), y), params))

    def kfac(kind: str) -> Any:
        operator = cl.KFACLinearOperator(net, loss, params, batches, fisher_type=kind, **joined)
        operator.compute_kronecker_factors()
        return operator

    def ekfac() -> Any:
        operator = cl.EKFACLinearOperator(net, loss, params, batches, fisher_type="mc", **joined)
        # It is made when it is first needed.
        operator.trace  # noqa: B018
        return operator

    inverse = cl.KFACInverseLinearOperator(kfac("mc"), damping=DAMPING, use_heuristic_damping=True)
    inverse @ gradient
    damped = ekfac()
    corrected = cl.KFACInverseLinearOperator(damped, damping=DAMPING, use_exact_damping=True)
    corrected @ gradient
    iterations = cl.CGInverseLinearOperator(ggn + DAMPING * _identity(cl, ggn), max_iter=10, max_tridiag_iter=0, tolerance=1e-30)
    return {
        "K-FAC, Monte Carlo": lambda: kfac("mc"),
        "K-FAC, exact": lambda: kfac("type-2"),
        "K-FAC solve": lambda: inverse @ gradient,
        "EKFAC from scratch, Monte Carlo": ekfac,
        "EKFAC solve": lambda: corrected @ gradient,
        "conjugate gradients, 10 iterations": lambda: iterations @ gradient,
        "trace, 32 products": lambda: cl.xtrace(ggn, 32),
        "diagonal of the Hessian, 16 products": lambda: cl.xdiag(hessian, 16),
    }


def _identity(cl: Any, like: Any) -> Any:
    from curvlinops.examples import IdentityLinearOperator

    return IdentityLinearOperator(like._in_shape, like.device, like.dtype)


def _backpack(network: Network) -> dict[str, Callable[[], object]]:
    from backpack.extensions import KFAC, KFLR, KFRA, DiagGGNExact, DiagGGNMC, SumGradSquared

    with_extension = backward_with(network)
    found = {
        "diagonal of the GGN": with_extension(DiagGGNExact),
        "diagonal, Monte Carlo": with_extension(lambda: DiagGGNMC(mc_samples=1)),
        "diagonal empirical Fisher": with_extension(SumGradSquared),
        "K-FAC, Monte Carlo": with_extension(lambda: KFAC(mc_samples=1)),
        "K-FAC, exact": with_extension(KFLR),
    }
    if network.name != "cnn":
        found["KFRA"] = with_extension(KFRA)
    return found


def _nngeometry(network: Network) -> dict[str, Callable[[], object]]:
    from nngeometry.metrics import FIM
    from nngeometry.object import PMatBlockDiag, PMatDense, PMatDiag, PMatEKFAC, PMatKFAC, PVector
    from torch.utils.data import DataLoader, TensorDataset

    net, x, y = module(network)
    data = TensorDataset(x, y)
    loader = DataLoader(data, batch_size=len(data))
    gradient = torch.autograd.grad(torch.nn.functional.cross_entropy(net(x), y), list(net.parameters()))

    def making(kind: Any) -> Callable[[], Any]:
        def run() -> Any:
            matrix = FIM(net, loader, kind, variant="classif_logits", device="cpu")
            if kind is PMatEKFAC:
                matrix.update_diag(list(loader))
            return matrix

        return run

    kfac = making(PMatKFAC)()
    vector = PVector(kfac.generator.layer_collection, vector_repr=torch.cat([g.reshape(-1) for g in gradient]))
    found = {
        "diagonal of the GGN": making(PMatDiag),
        "K-FAC, exact": making(PMatKFAC),
        "K-FAC solve": lambda: kfac.solve(vector, regul=DAMPING),
    }
    if network.name == "small":
        found |= {"block-diagonal": making(PMatBlockDiag), "exact": making(PMatDense)}
    return found
