import torch
from torch import nn
from transformers.activations import ACT2FN, NewGELUActivation

from lathe.core.activations import FusedGelu, fuse, unfuse


def test_a_fused_activation_computes_the_same_function_and_gradient():
    x = torch.linspace(-6, 6, 201, dtype=torch.float64, requires_grad=True)
    model = nn.Sequential(ACT2FN["gelu_new"])
    (plain,) = torch.autograd.grad(model(x).sum(), x)
    fuse(model)
    (fused,) = torch.autograd.grad(model(x).sum(), x)
    assert type(model[0]) is FusedGelu
    torch.testing.assert_close(fused, plain, rtol=0, atol=1e-12)
    torch.testing.assert_close(model(x), NewGELUActivation()(x), rtol=0, atol=1e-12)


def test_unfusing_leaves_the_model_as_it_was():
    model = nn.Sequential(ACT2FN["gelu_new"], nn.GELU())
    fuse(model)
    unfuse(model)
    assert [type(module) for module in model] == [NewGELUActivation, nn.GELU]
