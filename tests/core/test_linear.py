"""Linear layers with products in C beside torch's under autocast."""

import pytest
import torch
from torch import nn
from transformers import GPT2LMHeadModel
from transformers.pytorch_utils import Conv1D

from lathe.core import linear
from lathe.core.native import products

needs_unit = pytest.mark.skipif(not products.has_unit(), reason="this processor has no unit for products in bfloat16")


def conv(inputs, outputs):
    layer = Conv1D(outputs, inputs)
    nn.init.normal_(layer.weight, std=0.1)
    nn.init.normal_(layer.bias)
    return layer


def results(layer, x, dtype=torch.bfloat16):
    """The output, and the gradients of the input and all parameters."""
    torch.manual_seed(3)
    dy = torch.randn(*x.shape[:-1], 96).bfloat16()
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        y = layer(x)
    return y.detach(), *torch.autograd.grad(y, [x, *layer.parameters()], dy.to(y.dtype))


def distance(found, exact):
    return [float((one.double() - other).norm() / other.norm()) for one, other in zip(found, exact, strict=True)]


@needs_unit
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "make", [lambda: nn.Linear(64, 96), lambda: nn.Linear(64, 96, bias=False), lambda: conv(64, 96)]
)
def test_output_and_gradients_are_as_exact_as_those_of_autocast_and_have_their_types(make, dtype):
    torch.manual_seed(0)
    layer, x = make(), torch.randn(2, 301, 64).to(dtype)
    theirs = results(layer, x)
    model = nn.Sequential(layer)
    linear.fuse(model)
    ours = results(model, x)
    linear.unfuse(model)
    exact = results(model.double(), x.double(), torch.float64)
    assert [(one.dtype, one.shape) for one in ours] == [(one.dtype, one.shape) for one in theirs]
    for mine, other in zip(distance(ours, exact), distance(theirs, exact), strict=True):
        assert mine <= 1.02 * other  # both round input and weight; only theirs the bias and the sums


@needs_unit
def test_a_frozen_weight_gets_no_gradient_and_an_input_without_one_none():
    layer = nn.Sequential(nn.Linear(32, 64))
    linear.fuse(layer)
    x = torch.randn(40, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(x).float().sum().backward()
    assert x.grad is None and layer[0].weight.grad.dtype == layer[0].bias.grad.dtype == torch.float32
    layer.requires_grad_(False)
    x.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(x).float().sum().backward()
    assert x.grad is not None and x.grad.dtype == torch.float32


@needs_unit
def test_a_weight_that_changed_before_the_backward_pass_is_refused():
    layer = nn.Sequential(nn.Linear(32, 64))
    linear.fuse(layer)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(torch.randn(40, 32, requires_grad=True))
    with torch.no_grad():
        layer[0].weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.float().sum().backward()


@pytest.mark.parametrize("case", ["no autocast", "few rows", "odd size", "no unit"])
def test_elsewhere_torch_computes(case, monkeypatch):
    layer = nn.Sequential(nn.Linear(64, 33 if case == "odd size" else 96))
    x = torch.randn(3 if case == "few rows" else 50, 64)
    if case == "no unit":
        monkeypatch.setattr(products, "_granted", lambda _: None)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=case != "no autocast"):
        expected = layer(x)
        linear.fuse(layer)
        assert torch.equal(layer(x), expected)


def test_a_model_becomes_as_it_was(gpt2_config):
    model = GPT2LMHeadModel(gpt2_config)
    before = [type(module) for module in model.modules()]
    linear.fuse(model)
    assert {linear.FastLinear, linear.FastConv1D} <= {type(module) for module in model.modules()}
    linear.unfuse(model)
    assert [type(module) for module in model.modules()] == before
