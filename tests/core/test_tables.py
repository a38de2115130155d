"""Embedding tables that keep their gradient: the numbers of torch, step after step."""

import copy

import pytest
import torch
from torch import nn

from lathe.core import optim, tables
from lathe.core.tables import Table

ROWS, WIDTH = 300, 16


class Words(nn.Module):
    """A table under a linear layer."""

    def __init__(self, padding: int | None = None) -> None:
        super().__init__()
        self.table = nn.Embedding(ROWS, WIDTH, padding_idx=padding)
        self.layer = nn.Linear(WIDTH, 1)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.table

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.layer(self.table(ids)).square().sum()


@pytest.fixture(autouse=True)
def small_tables_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "SMALLEST", 1)


def pair(padding: int | None) -> tuple[Words, Words]:
    torch.manual_seed(0)
    plain = Words(padding)
    kept = copy.deepcopy(plain)
    tables.keep_gradients(kept)
    assert isinstance(kept.table, Table)
    return plain, kept


def clip(model: nn.Module, largest: float) -> float:
    norm = tables.norm(model)
    tables.scale(model.parameters(), tables.kept(model), optim.clip_factor(norm, largest))
    return norm


@pytest.mark.parametrize("padding", [None, 0, 7])
@pytest.mark.parametrize("largest", [1e9, 1e-3], ids=["not clipped", "clipped"])
@pytest.mark.parametrize("micro", [1, 3])
def test_every_step_is_that_of_a_plain_table(padding: int | None, largest: float, micro: int) -> None:
    models = pair(padding)
    optimizers = [torch.optim.AdamW(model.parameters(), lr=0.01) for model in models]
    for step in range(6):
        torch.manual_seed(step)
        batches = [torch.randint(0, ROWS, (4, 5)) % (20 if step % 2 else ROWS) for _ in range(micro)]
        norms = []
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.zero_grad(set_to_none=True)
            for ids in batches:
                model(ids).backward()
            norms.append(clip(model, largest))
            optimizer.step()
        assert norms[0] == pytest.approx(norms[1], rel=1e-6)
        torch.testing.assert_close(models[1].table.weight.grad, models[0].table.weight.grad, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(models[1].table.weight, models[0].table.weight, rtol=1e-6, atol=1e-7)


def test_clipping_is_that_of_torch() -> None:
    plain, kept = pair(None)
    ids = torch.arange(12).view(3, 4) % 5
    for model in (plain, kept):
        model(ids).backward()
    expected = nn.utils.clip_grad_norm_(plain.parameters(), 0.01)
    assert clip(kept, 0.01) == pytest.approx(float(expected), rel=1e-6)
    for mine, theirs in zip(kept.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-5, atol=1e-8)


def test_a_step_without_the_table_leaves_no_gradient_of_the_last_one() -> None:
    _, kept = pair(None)
    kept(torch.tensor([[1, 2]])).backward()
    kept.zero_grad(set_to_none=True)
    kept.layer(torch.ones(1, WIDTH)).sum().backward()
    assert kept.table.weight.grad is None
    clip(kept, 1.0)


def test_a_table_that_is_the_vocabulary_head_too_is_left_alone() -> None:
    model = Words()
    model.head = nn.Linear(WIDTH, ROWS, bias=False)
    model.head.weight = model.table.weight
    tables.keep_gradients(model)
    assert type(model.table) is nn.Embedding


def test_frozen_tables_and_evaluation_keep_nothing() -> None:
    _, kept = pair(None)
    with torch.no_grad():
        kept(torch.tensor([[1]]))
    kept.table.weight.requires_grad_(False)
    kept(torch.tensor([[1]])).backward()
    assert kept.table.kept is None and kept.table.weight.grad is None


def test_all_but_the_table_may_be_frozen() -> None:
    _, kept = pair(None)
    kept.layer.requires_grad_(False)
    kept(torch.tensor([[1, 2]])).backward()
    assert clip(kept, 1e-3) > 1e-3
    assert float(kept.table.weight.grad.norm()) == pytest.approx(1e-3, rel=1e-2)


def test_release_gives_the_plain_class_back() -> None:
    _, kept = pair(0)
    names = list(kept.state_dict())
    kept(torch.tensor([[1, 2]])).backward()
    tables.release_gradients(kept)
    assert type(kept.table) is nn.Embedding and kept.table.weight.grad is None
    assert list(kept.state_dict()) == names and "kept" not in vars(kept.table)
