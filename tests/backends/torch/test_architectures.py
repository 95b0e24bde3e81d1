"""Architectures that people use, tiny and with random weights: every layer is recognised and every number is right."""

import os

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it speaks of image processors that nobody asked for

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import curvature as cv

transformers = pytest.importorskip("transformers")
N = 3


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def prepared(net):
    """The module in float64 and evaluation mode, with parameters and running statistics that are random."""
    net = net.double().eval()
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(0.4 * randn(*p.shape, seed=i))
        for i, (name, buffer) in enumerate(net.named_buffers()):
            if "running" in name:
                buffer.copy_(randn(*buffer.shape, seed=i).abs() + 0.5)
    return net


class Block(nn.Module):
    """Two convolutions and a way around them (He et al. 2016)."""

    def __init__(self, d_in, d_out, stride):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(d_in, d_out, 3, stride, 1, bias=False), nn.BatchNorm2d(d_out)
        self.conv2, self.norm2 = nn.Conv2d(d_out, d_out, 3, 1, 1, bias=False), nn.BatchNorm2d(d_out)
        self.around = nn.Sequential(nn.Conv2d(d_in, d_out, 1, stride, bias=False), nn.BatchNorm2d(d_out))
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        h = self.norm2(self.conv2(self.act(self.norm1(self.conv1(x)))))
        h += self.around(x)
        return self.act(h)


def plain_resnet():
    stem = (nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2))
    return nn.Sequential(*stem, Block(3, 3, 1), Block(3, 4, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def resnet():
    config = transformers.ResNetConfig(
        num_channels=2, embedding_size=3, hidden_sizes=[3, 4], depths=[1, 1], layer_type="basic", num_labels=3
    )
    return transformers.ResNetForImageClassification(config)


def gpt2_config(**options):
    return transformers.GPT2Config(vocab_size=11, n_positions=7, n_embd=4, n_layer=2, n_head=2, **options)


def vit():
    config = transformers.ViTConfig(
        num_channels=2, hidden_size=4, num_hidden_layers=1, num_attention_heads=2, intermediate_size=5, image_size=4, patch_size=2
    )
    config.num_labels = 3
    return transformers.ViTForImageClassification(config)


def bert():
    config = transformers.BertConfig(
        vocab_size=11, hidden_size=4, num_hidden_layers=1, num_attention_heads=2, intermediate_size=5, max_position_embeddings=7
    )
    config.num_labels = 3
    return transformers.BertForSequenceClassification(config)


def torch_encoder():
    layer = nn.TransformerEncoderLayer(4, 2, 5, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Embedding(11, 4, padding_idx=0), nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(20, 3))


def last(returned):
    return returned.logits[:, -1]


WORDS = torch.tensor([[1, 2, 3, 4, 5], [5, 5, 2, 1, 9], [7, 3, 3, 0, 0]])
IMAGES = randn(N, 2, 8, 8, seed=3)
LABELS = torch.tensor([0, 2, 1])
CASES = {
    "ResNet of torch": (plain_resnet, IMAGES, None, {"affine": 8, "scale": 6}),
    "ResNet": (resnet, IMAGES, None, {"affine": 7, "scale": 6}),
    "GPT-2 classifier": (
        lambda: transformers.GPT2ForSequenceClassification(gpt2_config(pad_token_id=0, num_labels=3)),
        WORDS,
        None,
        {"affine": 9, "scale": 5, "embedding": 2},
    ),
    "GPT-2 language model": (
        lambda: transformers.GPT2LMHeadModel(gpt2_config()),
        WORDS,
        last,
        {"affine": 8, "scale": 5, "embedding": 1, "mixed": 1},
    ),
    "ViT": (vit, randn(N, 2, 4, 4, seed=3), None, {"affine": 8, "scale": 3, "shift": 2}),
    "BERT": (bert, {"input_ids": WORDS, "attention_mask": (WORDS > 0).long()}, None, {"affine": 8, "scale": 3, "embedding": 3}),
    "TransformerEncoder": (torch_encoder, WORDS, None, {"affine": 9, "scale": 4, "embedding": 1}),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys(), scope="module")
def case(request):
    make, x, output, kinds = request.param
    torch.manual_seed(0)
    net = prepared(make())
    problem = cv.Problem(cv.as_model(net, output=output), cv.Categorical(), (x, LABELS))
    return net, x, output, kinds, problem


def direct(net, x, output):
    """Outputs by calling the module itself."""
    returned = net(**x) if isinstance(x, dict) else net(x)
    return output(returned) if output is not None else getattr(returned, "logits", returned)


def jacobian(net, x, output, problem):
    """(N, C, P) by torch.autograd, one output of one example at a time."""
    parameters = dict(net.named_parameters())
    outputs = direct(net, x, output)
    ordered = [parameters[name] for name in problem.space.names]
    rows = []
    for value in outputs.flatten():
        gradients = torch.autograd.grad(value, ordered, retain_graph=True, allow_unused=True, materialize_grads=True)
        rows.append(torch.cat([g.flatten() for g in gradients]))
    return torch.stack(rows).unflatten(0, outputs.shape), outputs.detach()


def factor_of(outputs):
    """S S^T = diag(p) - p p^T, by its eigenvectors."""
    p = torch.softmax(outputs, -1)
    values, vectors = torch.linalg.eigh(torch.diag_embed(p) - p[:, :, None] * p[:, None, :])
    return vectors * values.clamp(min=0).sqrt()[:, None, :]


def test_gradient_and_loss(case):
    net, x, output, _, problem = case
    loss = F.cross_entropy(direct(net, x, output), LABELS)
    torch.testing.assert_close(problem.loss(), loss.detach(), rtol=1e-12, atol=1e-12)
    expected = dict(zip(dict(net.named_parameters()), torch.autograd.grad(loss, list(net.parameters())), strict=True))
    gradient = problem.gradient()
    assert gradient.keys() == expected.keys()
    for name, g in expected.items():
        torch.testing.assert_close(gradient[name], g, rtol=1e-9, atol=1e-12)


def test_every_layer_is_recognised(case):
    """Also biases of keys, which softmax does not see: their gradients cancel to rounding."""
    _, _, _, kinds, problem = case
    report = problem.uses()
    assert report.general == {}
    found = [layer.kind for layer in report]
    assert {kind: found.count(kind) for kind in found} == kinds, str(report)


def test_gradients_of_each_example_and_fisher(case):
    net, x, output, _, problem = case
    rows, outputs = jacobian(net, x, output, problem)
    seeds = randn(*outputs.shape, 2, seed=8)
    expected = torch.einsum("ncp,ncr->npr", rows, seeds)
    evaluation = problem.evaluate(next(problem.batches()))
    partition = problem.structure.partition
    blocks = [value.gradients() for value in evaluation.layers(seeds)]
    for n in range(N):
        found = partition.scatter(problem.xp, [block[n] for block in blocks])
        torch.testing.assert_close(found, expected[n], rtol=1e-9, atol=1e-12)

    square_root = torch.einsum("ncp,ncr->nrp", rows, factor_of(outputs)) / N**0.5
    fisher = cv.Fisher(problem)
    v = randn(problem.space.size, 2, seed=9)
    expected = torch.einsum("nrp,nrk->pk", square_root, torch.einsum("nrp,pk->nrk", square_root, v))
    torch.testing.assert_close(fisher @ v, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(cv.GGN(problem) @ v, expected, rtol=1e-9, atol=1e-12)
    diagonal = cv.approximate(fisher, "diagonal").diagonal()
    torch.testing.assert_close(diagonal, square_root.square().sum((0, 1)), rtol=1e-9, atol=1e-12)


def test_kfac_and_a_hessian_product_run_and_the_module_is_left_alone(case):
    net, x, output, _, problem = case
    before = {name: a.clone() for name, a in (*net.named_parameters(), *net.named_buffers())}
    versions = {name: a._version for name, a in (*net.named_parameters(), *net.named_buffers())}
    modes = [m.training for m in net.modules()]
    kfac = cv.approximate(cv.Fisher(problem), "kfac")
    step = kfac.solve(problem.gradient(), damping=1e-2)
    slope = sum((step[name] * g).sum() for name, g in problem.gradient().items())
    assert slope > 0
    v = {name: randn(*p.shape, seed=i) for i, (name, p) in enumerate(problem.params.items())}
    product = cv.Hessian(problem) @ v

    loss = F.cross_entropy(twice_differentiable(net, x, output), LABELS)
    parameters = [p for _, p in net.named_parameters()]
    first = torch.autograd.grad(loss, parameters, create_graph=True)
    slope = sum((g * v[name]).sum() for (name, _), g in zip(net.named_parameters(), first, strict=True))
    for (name, _), h in zip(net.named_parameters(), torch.autograd.grad(slope, parameters), strict=True):
        torch.testing.assert_close(product[name], h, rtol=1e-8, atol=1e-11)

    for name, a in (*net.named_parameters(), *net.named_buffers()):
        assert torch.equal(a, before[name])
        assert a._version == versions[name]
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert [m.training for m in net.modules()] == modes


def twice_differentiable(net, x, output):
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        return direct(net, x, output)
