import pytest
import torch
from torch import nn
from transformers.activations import ACT2FN, GELUActivation, NewGELUActivation

from lathe.core.activations import FusedGelu, FusedTanhGelu, fuse, kind_of, unfuse


@pytest.mark.parametrize(("name", "fused"), [("gelu", FusedGelu), ("gelu_new", FusedTanhGelu)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_fused_activation_computes_the_same_function_and_gradient(name, fused, dtype):
    """float64 has no operation in C, float32 has."""
    x = torch.linspace(-6, 6, 201, dtype=dtype, requires_grad=True)
    model = nn.Sequential(ACT2FN[name])
    before = model(x)
    (theirs,) = torch.autograd.grad(before.sum(), x)
    fuse(model)
    (ours,) = torch.autograd.grad(model(x).sum(), x)
    assert type(model[0]) is fused
    close = 1e-12 if dtype == torch.float64 else 4e-6
    torch.testing.assert_close(ours, theirs, rtol=0, atol=close)
    torch.testing.assert_close(model(x), before, rtol=0, atol=close)


def test_unfusing_leaves_the_model_as_it_was():
    model = nn.Sequential(ACT2FN["gelu_new"], nn.GELU(), ACT2FN["gelu"])
    fuse(model)
    unfuse(model)
    assert [type(module) for module in model] == [NewGELUActivation, nn.GELU, GELUActivation]


def test_a_function_that_has_no_operation_has_no_name():
    assert kind_of(ACT2FN["gelu_fast"]) is None and kind_of(nn.functional.gelu) is None
    assert kind_of(ACT2FN["gelu_pytorch_tanh"]) == "gelu_tanh"
