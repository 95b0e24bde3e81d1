"""``torch.nn.Module`` through ``curvature.as_model``."""

import subprocess
import sys
import warnings
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import curvature as cv
import curvature_torch


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, Y = randn(6, 4, seed=1), torch.tensor([0, 1, 2, 1, 0, 2])


def network():
    torch.manual_seed(0)
    parts = OrderedDict(first=nn.Linear(4, 5), norm=nn.BatchNorm1d(5), act=nn.Tanh(), last=nn.Linear(5, 3))
    return nn.Sequential(parts).double()


def snapshot(module):
    return (
        {name: p.detach().clone() for name, p in module.named_parameters()},
        {name: b.clone() for name, b in module.named_buffers()},
        {name: None if p.grad is None else p.grad.clone() for name, p in module.named_parameters()},
        {name: (id(p), p.requires_grad, p._version) for name, p in module.named_parameters()},
        {name: (m.training, len(m._forward_hooks)) for name, m in module.named_modules()},
    )


def unchanged(before, after):
    for old, new in zip(before[:3], after[:3], strict=True):
        assert old.keys() == new.keys()
        for name, array in old.items():
            assert (array is None and new[name] is None) or torch.equal(array, new[name])
    assert before[3:] == after[3:]


def test_gradient_and_parameters():
    net = network().eval()
    before = snapshot(net)
    problem = cv.Problem(net, cv.Categorical(), (X, Y))
    assert list(problem.params) == [name for name, _ in net.named_parameters()]
    gradient = problem.gradient()
    cv.approximate(cv.Fisher(problem), "kfac")
    _ = cv.Hessian(problem) @ problem.params
    unchanged(before, snapshot(net))
    F.cross_entropy(net(X), Y).backward()
    for name, p in net.named_parameters():
        torch.testing.assert_close(gradient[name], p.grad)
    assert not any(p.requires_grad for p in problem.params.values())


def test_batch_norm_in_training_changes_nothing_and_is_refused():
    net = network().train()
    before = snapshot(net)
    problem = cv.Problem(net, cv.Categorical(), (X, Y))
    problem.loss_and_gradient()
    with pytest.raises(cv.ModelError, match="evaluation mode"):
        cv.approximate(cv.Fisher(problem), "kfac")
    unchanged(before, snapshot(net))


def test_the_mode_and_the_buffers_are_those_of_the_call():
    net = network().eval()
    model = cv.as_model(net)
    first = model(model.params, X)
    net.norm.running_mean += 1.0
    second = model(model.params, X)
    torch.testing.assert_close(second, net(X))
    assert not torch.allclose(first, second)
    net.train()
    assert not torch.allclose(model(model.params, X), second)


def test_frozen_parameters_are_constants():
    net = network().eval()
    net.first.requires_grad_(False)
    model = cv.as_model(net)
    assert list(model.params) == ["norm.weight", "norm.bias", "last.weight", "last.bias"]
    torch.testing.assert_close(model(model.params, X), net(X))
    net.requires_grad_(False)
    with pytest.raises(cv.DataError, match=r"requires_grad_\(\)"):
        cv.as_model(net)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.table.weight

    def forward(self, x):
        return self.head(torch.tanh(self.table(x)).mean(1))


def test_tied_weights_appear_once_and_stay_tied():
    net = Tied().double()
    x, y = torch.tensor([[0, 1], [3, 4], [2, 2]]), torch.tensor([1, 0, 4])
    problem = cv.Problem(net, cv.Categorical(), (x, y))
    assert list(problem.params) == ["table.weight"]
    assert [layer.kind for layer in problem.structure.layers] == ["mixed"]
    F.cross_entropy(net(x), y).backward()
    torch.testing.assert_close(problem.gradient()["table.weight"], net.table.weight.grad)
    moved = {"table.weight": randn(5, 4)}
    curvature_torch.update(net, moved)
    assert net.head.weight is net.table.weight
    torch.testing.assert_close(net.head.weight.detach(), moved["table.weight"])


def test_update_writes_trained_parameters_back():
    net = network().eval()
    ids = [id(p) for p in net.parameters()]
    params = {name: p.detach() + 1 for name, p in net.named_parameters()}
    model = cv.as_model(net)
    expected = model(params, X)
    curvature_torch.update(net, params)
    torch.testing.assert_close(net(X), expected)
    assert [id(p) for p in net.parameters()] == ids
    with pytest.raises(cv.ModelError, match=r"missing \['norm.weight'\], unknown \['other'\]"):
        curvature_torch.update(net, {**{k: v for k, v in params.items() if k != "norm.weight"}, "other": X})
    with pytest.raises(cv.ModelError, match=r"'last.bias' has shape \(3,\), the new one \(1,\)"):
        curvature_torch.update(net, {**params, "last.bias": randn(1)})


class Inputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x, other=None):
        s = self.layer(x)
        return {"hidden": s, "logits": s if other is None else s * other, "none": None}


def test_inputs_and_outputs():
    net, other = Inputs().double(), randn(6, 3)
    expected = net(X, other)
    for x in ({"x": X, "other": other}, (X, other), [X, other]):
        model = cv.as_model(net)
        torch.testing.assert_close(model(model.params, x), expected["logits"])
    by_name, by_function = cv.as_model(net, output="hidden"), cv.as_model(net, output=lambda r: r["hidden"][:, :2])
    torch.testing.assert_close(by_name(by_name.params, X), expected["hidden"])
    torch.testing.assert_close(by_function(by_function.params, X), expected["hidden"][:, :2])
    wrong = cv.as_model(net, output="none")
    with pytest.raises(cv.ModelError, match=r"'hidden', 'logits', 'none'.*output='none'"):
        wrong(wrong.params, X)
    problem = cv.Problem(net, cv.Categorical(), ({"x": X, "other": other}, Y))
    torch.testing.assert_close(problem.loss(), F.cross_entropy(expected["logits"], Y).detach())


def test_a_module_without_inputs():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.mean = nn.Parameter(randn(3))

        def forward(self):
            return self.mean

    problem = cv.Problem(Constant(), cv.Gaussian(1.0), (None, randn(5, 3)))
    torch.testing.assert_close(cv.Fisher(problem).to_dense(), torch.eye(3, dtype=torch.float64))


def test_wrappers_are_taken_off():
    net = network().eval()
    expected = cv.as_model(net)
    for wrapped in (nn.DataParallel(net), torch.compile(net), torch.compile(nn.DataParallel(net))):
        model = cv.as_model(wrapped)
        assert list(model.params) == list(expected.params)
        torch.testing.assert_close(model(model.params, X), net(X))
    curvature_torch.update(nn.DataParallel(net), {name: p * 2 for name, p in expected.params.items()})


def test_refusals():
    lazy = nn.Sequential(nn.LazyLinear(3))
    with pytest.raises(cv.ModelError, match=r"'0.weight'.*call the module once"):
        cv.as_model(lazy)
    with pytest.raises(cv.ModelError, match="'0' has max_norm"):
        cv.as_model(nn.Sequential(nn.Embedding(5, 3, max_norm=1.0)))
    with pytest.raises(cv.ModelError, match="scale_grad_by_freq"):
        cv.as_model(nn.Embedding(5, 3, scale_grad_by_freq=True))
    with pytest.raises(cv.ModelError, match="meta device"):
        cv.as_model(nn.Linear(3, 2, device="meta"))
    with pytest.raises(cv.MixedBackendError, match=r"'1\.bias' has dtype torch\.float32"):
        cv.as_model(nn.Sequential(nn.Linear(3, 2).double(), nn.Linear(2, 2)))
    with pytest.raises(cv.DataError, match=r"complex64"):
        cv.as_model(nn.Linear(3, 2, dtype=torch.complex64))


def test_a_scripted_module_is_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.trace(nn.Linear(4, 3), torch.zeros(1, 4))
    with pytest.raises(cv.ModelError, match="scripted"):
        cv.as_model(scripted)


def test_asking_for_an_adapter_imports_no_torch():
    code = (
        "import sys, curvature as cv\n"
        "try:\n    cv.as_model(object())\n"
        "except cv.UnsupportedError:\n    pass\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_in_place_activations_and_hooks():
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 3)).double()
    seen = []
    net[0].register_forward_hook(lambda module, args, result: seen.append(result.shape))
    problem = cv.Problem(net, cv.Categorical(), (X, Y))
    fisher = cv.Fisher(problem)
    torch.testing.assert_close(cv.approximate(fisher, "exact").to_dense(), fisher.to_dense(), rtol=1e-9, atol=1e-12)
    assert seen
