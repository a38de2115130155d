"""The loss over a vocabulary is torch's cross-entropy, gradients included, however many rows are taken at a time."""

import pytest
import torch
from torch.nn import functional as F

from lathe.objectives import vocabulary
from lathe.objectives.vocabulary import vocabulary_part


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 1e-2)]
)
@pytest.mark.parametrize("at_once", [1, 40, 10**6])
def test_value_and_gradient_are_those_of_torch(smoothing, dtype, tolerance, at_once, monkeypatch):
    monkeypatch.setattr(vocabulary, "CELLS_AT_ONCE", at_once)
    torch.manual_seed(0)
    values, labels = (5 * torch.randn(7, 13)).to(dtype), torch.randint(0, 13, (7,))
    ours, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
    part = vocabulary_part(ours, labels, "x", smoothing)
    wide = theirs if dtype == torch.float64 else theirs.float()
    wanted = F.cross_entropy(wide, labels, reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(part.total, wanted, rtol=1e-6, atol=1e-6)
    (part.total * 0.5).backward()
    (wanted * 0.5).backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=tolerance, atol=tolerance)


def test_no_rows_have_no_loss_and_a_gradient_all_the_same():
    logits = torch.zeros(0, 5, requires_grad=True)
    part = vocabulary_part(logits, torch.zeros(0, dtype=torch.long), "x")
    assert (float(part.total.detach()), part.items) == (0.0, 0)
    part.total.backward()
    assert logits.grad.shape == (0, 5)


def test_a_very_sure_and_wrong_model_has_a_finite_loss():
    logits = torch.tensor([[1e4, 0.0]], requires_grad=True)
    part = vocabulary_part(logits, torch.tensor([1]), "x")
    assert float(part.total.detach()) == pytest.approx(1e4)
