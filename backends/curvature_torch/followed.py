"""The part of a module that an optimiser of torch has, as problems of the core."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

import curvature as cv
from curvature.trees import leaves

from .inputs import Inputs
from .module import _can_drop, _unwrapped

_COUPLING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Followed:
    """A module and a likelihood, whose parameters are whatever an optimiser has of them.

    Args:
        model: the module that is trained.
        likelihood: whose -log p is the loss of the training loop.
        output: which part of what the module returns are its outputs, see ``curvature.as_model``.
        reduction: whether the loop's loss is the mean over the examples or their sum.

    Raises:
        DataError: if ``model`` is no module, or ``likelihood`` no likelihood.
        UnsupportedError: for a module that several processes train together.
    """

    def __init__(self, model: Any, likelihood: Any, output: Any, reduction: Literal["mean", "sum"]) -> None:
        if not isinstance(model, nn.Module):
            raise cv.DataError(
                f"model is the torch.nn.Module that is trained, got a {type(model).__name__}; pass it, not its parameters"
            )
        if not isinstance(likelihood, cv.Likelihood):
            raise cv.DataError(
                f"a likelihood is an instance of curvature.Likelihood, got {likelihood!r}; for "
                f"torch.nn.functional.cross_entropy it is curvature.Categorical()"
            )
        if reduction not in ("mean", "sum"):
            raise cv.DataError(f"reduction is that of the loop's loss, 'mean' or 'sum', got {reduction!r}")
        if isinstance(model, nn.parallel.DistributedDataParallel) and torch.distributed.get_world_size() > 1:
            raise cv.UnsupportedError(
                "every process would take the curvature of its own part of a batch and go another way; train in one process, or "
                "broadcast the parameters after each step and pass the module inside: model.module"
            )
        self.module = _unwrapped(model)
        self.likelihood = likelihood
        self.output = output
        self.reduction = reduction
        self._model: cv.Model | None = None

    @property
    def names(self) -> dict[int, str]:
        """{id of a parameter: its name}, tied ones by their first name."""
        return {id(parameter): name for name, parameter in self.module.named_parameters()}

    def name_of(self, parameter: Tensor) -> str:
        """The name of a parameter.

        Raises:
            DataError: if it is not the module's.
        """
        name = self.names.get(id(parameter))
        if name is None:
            raise cv.DataError(
                f"a parameter of shape {tuple(parameter.shape)} does not belong to the {type(self.module).__name__}; give the "
                f"optimiser parameters of the model that it was made for (after model.to(...), and not those of a copy)"
            )
        return name

    def chosen(self, groups: Iterable[Mapping[str, Any]]) -> dict[str, nn.Parameter]:
        """The parameters of the groups that require gradients, by name and in the module's order."""
        wanted = {id(parameter) for group in groups for parameter in group["params"] if parameter.requires_grad}
        return {name: parameter for name, parameter in self.module.named_parameters() if id(parameter) in wanted}

    def problem(self, chosen: Mapping[str, Tensor], data: Any) -> cv.Problem:
        """The problem of these parameters on a batch, or on a list of batches; the others are as they are in the module."""
        if self._model is None or set(self._model.params) != set(chosen):
            self._model = self._adapted(chosen)
        return cv.Problem(self._model.with_params(dict(chosen)), self.likelihood, data, reduction=self.reduction)

    def unlabelled(self, chosen: Mapping[str, Tensor], inputs: Sequence[Any]) -> Any:
        """Batches with these inputs, for what needs no targets: theirs are drawn from the model, as any likelihood can."""
        batches = []
        for x in inputs:
            n = leaves(x)[0].shape[0]
            problem = self.problem(chosen, (x, next(iter(chosen.values())).new_zeros(n)))
            outputs = problem.outputs(problem.params, next(problem.batches())).detach()
            batches.append((x, self.likelihood.sample(problem.backend.rng(0), outputs)))
        return batches[0] if len(batches) == 1 else batches

    def _adapted(self, chosen: Mapping[str, Tensor]) -> cv.Model:
        module, own = self.module, cv.as_model(self.module, output=self.output)
        if all(name in chosen for name, _ in module.named_parameters()):
            return own

        def apply(params: Mapping[str, Tensor], x: Any) -> Any:
            others = {name: p.detach() for name, p in module.named_parameters() if name not in params}
            return own.apply({**others, **params}, x)

        return cv.Model(apply, dict(chosen))

    @contextmanager
    def aside(self, inputs: Inputs) -> Iterator[None]:
        """While the model is called for the optimiser's own sake: in its own precision, and without dropout.

        Raises:
            ModelError: batch normalisation in training mode, which is no function of one example, named.
        """
        for path, part in self.module.named_modules():
            if part.training and isinstance(part, _COUPLING):
                raise cv.ModelError(
                    f"{path or type(part).__name__} normalises each batch by its own examples, so that the loss is no sum over "
                    f"them and has no Fisher information; train with its running statistics: model.eval(), or only that part's"
                )
        dropping = [part for part in self.module.modules() if part.training and _can_drop(part)]
        device = next(self.module.parameters()).device.type
        with inputs.paused(), torch.enable_grad(), torch.autocast(device, enabled=False):
            for part in dropping:
                part.training = False
            try:
                yield
            finally:
                for part in dropping:
                    part.training = True


def as_data(data: Any) -> Any:
    """A batch, or a list of batches, from what loops have: a DataLoader's batch is a list [x, y]."""
    if isinstance(data, list) and len(data) in (2, 3) and all(isinstance(part, Tensor) for part in data[1:]):
        return tuple(data)
    return data
