"""The contract of ``curvature.Use``, written out: gradients of each example from uses, beside torch's own."""

from __future__ import annotations

import optree
import pytest
import torch
from torch.nn import functional as F

import curvature as cv
from curvature_torch.backend import TorchBackend

be = TorchBackend()


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_example(use, g, size):
    """The gradients (R, N, size) of the parameter of a use, from cotangents (R, N, *positions, d_out)."""
    r, n, d_out = g.shape[0], g.shape[1], g.shape[-1]
    rows, columns = use.matrix_shape
    flat = g.reshape(r, n, -1, d_out)
    if use.kind == "shift":
        assert use.inputs is None
        assert (rows, columns) == (1, d_out)
        found = flat.sum(2)
    elif use.kind == "embedding":
        assert not use.inputs.is_floating_point()
        assert g.shape[1:-1] == use.inputs.shape
        chosen = F.one_hot(use.inputs.reshape(n, -1), rows).to(g.dtype)
        found = torch.einsum("ntv,rntd->rnvd", chosen, flat)
    else:
        assert g.shape[1:-1] == use.inputs.shape[:-1]
        a = use.inputs.reshape(n, flat.shape[2], -1)
        if use.kind == "scale":
            assert (rows, columns) == (1, d_out)
            found = torch.einsum("nts,rnts->rns", a, flat)
        else:
            a, out = a.unflatten(-1, (use.groups, -1)), flat.unflatten(-1, (use.groups, -1))
            found = torch.einsum("ntgi,rntgo->rngoi" if use.transposed else "ntgi,rntgo->rnigo", a, out)
    found = found.reshape(r, n, rows * columns)
    if use.entries is None:
        return found
    assert use.entries.shape == (rows * columns,)
    return found.new_zeros(r, n, size).index_add(2, use.entries, found)


def summed(uses, columns, space):
    """path -> gradients (R, N, size) of all recognised parameters."""
    found = {}
    for use, g in zip(uses.uses, columns, strict=True):
        found[use.parameter] = found.get(use.parameter, 0) + by_example(use, g, space.sizes[space.index(use.parameter)])
        if use.bias is not None:
            assert use.kind in ("linear", "scale")
            found[use.bias] = found.get(use.bias, 0) + g.reshape(*g.shape[:2], -1, g.shape[-1]).sum(2)
    return found


def expected_gradients(f, params, x, seeds):
    """path -> gradients (R, N, size) by a loop of torch.autograd."""
    leaves, treespec = optree.tree_flatten(params)
    variables = [p.detach().clone().requires_grad_() for p in leaves]
    outputs = f(optree.tree_unflatten(treespec, variables), x)
    found = [p.new_zeros(len(seeds), len(outputs), p.numel()) for p in variables]
    for r, seed in enumerate(seeds):
        for n in range(len(outputs)):
            single = torch.zeros_like(outputs)
            single[n] = seed[n]
            if outputs.requires_grad:
                gradients = torch.autograd.grad(
                    outputs, variables, single, retain_graph=True, allow_unused=True, materialize_grads=True
                )
                for one, g in zip(found, gradients, strict=True):
                    one[r, n] = g.to_dense().reshape(-1)
    return found, outputs.detach()


def check_uses(f, params, x, *, recognised, unrecognised=(), unused=()):
    """Uses of f, after checking their cotangents against torch's own gradients of every example."""
    before = [p.clone() for p in optree.tree_leaves(params)]
    uses = be.parameter_uses(f, params, x)
    space = cv.ParameterSpace.of(params)
    assert not uses.outputs.requires_grad
    assert set(uses.unrecognised) == set(unrecognised), dict(uses.unrecognised)
    assert set(uses.unused) == set(unused)
    assert set(recognised) | set(unrecognised) | set(unused) == set(space.names)

    seeds = randn(3, *uses.outputs.shape, seed=9).to(uses.outputs)
    gradients, outputs = expected_gradients(f, params, x, seeds)
    torch.testing.assert_close(uses.outputs, outputs)
    columns = uses.cotangents(seeds)
    found = summed(uses, columns, space)
    for name, expected in zip(space.names, gradients, strict=True):
        if name in recognised:
            torch.testing.assert_close(found[name], expected, rtol=1e-9, atol=1e-11)
        if name in unused:
            assert not expected.any()
    for r, seed in enumerate(seeds):
        for pulled, expected in zip(optree.tree_leaves(uses.pull(seed)), gradients, strict=True):
            torch.testing.assert_close(pulled.reshape(-1), expected[r].sum(0))
    tree, single = uses.pull_both(seeds[1])
    for c, s, o in zip(columns, single, uses.cotangents(seeds[1:2]), strict=True):
        torch.testing.assert_close(c[1:2], s)
        torch.testing.assert_close(s, o)
    for pulled, expected in zip(optree.tree_leaves(tree), gradients, strict=True):
        torch.testing.assert_close(pulled.reshape(-1), expected[1].sum(0))
    for p, old in zip(optree.tree_leaves(params), before, strict=True):
        assert torch.equal(p, old)
    return uses


@pytest.fixture
def check():
    return check_uses
