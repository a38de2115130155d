"""SimCSE: each row against all rows of its step, however the step is cut, with the dropout of its micro-batch."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModel, BertModel, DistilBertConfig, GPT2Config

from lathe.core import packing, parallel
from lathe.core.batches import EncodedRows, Plan, StepSize, batches
from lathe.core.coupled import whole_step
from lathe.core.errors import RecipeError
from lathe.core.keyed import row_keys
from lathe.core.learn import State, Train, train_step
from lathe.core.optim import SGD
from lathe.core.types import Symbols
from lathe.objectives import SimCSE

SYMBOLS = Symbols(pad=0, mask=4, size=25, special=(0, 1, 2, 3, 4))
ROWS = [
    {"input_ids": [2, 5, 6, 7, 3]},
    {"input_ids": [2, 9, 3]},
    {"input_ids": [5]},
    {"input_ids": [2, 20, 21, 22, 23, 3]},
]


def collate(rows=ROWS, objective=SimCSE()):  # noqa: B008 - frozen
    return objective.collate(rows, row_keys("d", len(rows)), SYMBOLS)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_the_loss_is_that_of_the_definition(bert_config, pooling):
    torch.manual_seed(0)
    model = BertModel(bert_config).eval()
    alone = [model(input_ids=torch.tensor([row["input_ids"]])) for row in ROWS]
    vectors = torch.cat([out.pooler_output if pooling == "cls" else out.last_hidden_state.mean(1) for out in alone])
    cosines = F.cosine_similarity(vectors[:, None], vectors[None], dim=-1) / 0.05
    expected = -sum(cosines[i].log_softmax(0)[i] for i in range(len(ROWS)))
    (part,) = SimCSE(pooling=pooling).loss(model, collate())
    torch.testing.assert_close(part.total, expected, rtol=1e-4, atol=1e-4)
    assert (part.items, part.name) == (4, "contrast")


def test_the_two_passes_differ_where_there_is_dropout(bert_config):
    bert_config.hidden_dropout_prob = 0.3
    first, second = SimCSE().embed(BertModel(bert_config).train(), collate()).unbind(1)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("packed", [False, True])
def test_a_step_with_dropout_has_the_gradient_of_its_rows_together(bert_config, packed):
    """Both passes over a micro-batch draw the same dropout, so the step is that of one graph over all of them."""
    bert_config.hidden_dropout_prob = bert_config.attention_probs_dropout_prob = 0.2
    objective, config = SimCSE(), Train(learning_rate=1.0, optimizer=SGD(), precision="fp32", max_grad_norm=1e9)
    torch.manual_seed(0)
    model = BertModel(bert_config)
    if packed:
        packing.enable(model)
    source = EncodedRows(ROWS, row_keys("d", len(ROWS)))
    step = next(batches(source, objective, SYMBOLS, Plan(source.lengths, StepSize(4), 0), tokens_per_batch=8))
    assert len(step.micro) > 1

    embedded = []

    class Spy(SimCSE):
        def embed(self, model, batch):
            embedded.append(super().embed(model, batch))
            return embedded[-1]

    state = State(config.optimizer(model))
    taken = train_step(model, Spy(), step, config, 10, state)
    half = len(step.micro)
    without, graphs = embedded[:half], embedded[half:]
    assert all(torch.equal(a, b) for a, b in zip(without, graphs, strict=True))
    together = torch.cat([vectors.detach() for vectors in graphs])
    assert taken.loss == pytest.approx(float(objective.couple(together).mean()), rel=1e-5)


def test_cached_gradients_are_those_of_one_graph(bert_config):
    torch.manual_seed(0)
    model, objective = BertModel(bert_config).double().eval(), SimCSE()
    objective.loss(model, collate())[0].total.backward()
    expected = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    micro = [collate(ROWS[:1]), collate(ROWS[1:])]
    for batch in whole_step(objective, micro, lambda compute, _, batch: compute(model, batch)):
        objective.loss(model, batch)[0].total.backward()
    found = [p.grad for p in model.parameters() if p.grad is not None]
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_sentences_come_apart_and_stay_near_themselves(bert_config):
    bert_config.hidden_dropout_prob = 0.1
    torch.manual_seed(0)
    model, objective, config = AutoModel.from_config(bert_config), SimCSE(), Train(learning_rate=0.02, precision="fp32")
    source = EncodedRows(ROWS, row_keys("d", len(ROWS)))
    step = next(batches(source, objective, SYMBOLS, Plan(source.lengths, StepSize(4), 0), tokens_per_batch=100))
    state = State(config.optimizer(model))
    losses = [train_step(model, objective, step, config, 80, state).loss for _ in range(80)]
    assert losses[0] > 0.8 * np.log(4)
    assert np.mean(losses[-5:]) < 0.4 * losses[0]


def test_what_cannot_learn_from_dropout_is_refused(bert_config):
    with pytest.raises(RecipeError, match="'gpt2' is not"):
        SimCSE().check_model(GPT2Config(), SYMBOLS)
    with pytest.raises(RecipeError, match="Set model.dropout"):
        SimCSE().check_model(bert_config, SYMBOLS)
    SimCSE().check_model(DistilBertConfig(), SYMBOLS)


@pytest.mark.parametrize("cuts", [(1, 3), (0, 4), (3, 1)])
def test_rows_of_several_ranks_are_one_step(bert_config, monkeypatch, cuts):
    """Rank by rank, with what the others would send; one may be without a row."""
    torch.manual_seed(0)
    model, objective = BertModel(bert_config).double().eval(), SimCSE()
    objective.loss(model, collate())[0].total.backward()
    expected = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    run = lambda compute, _, batch: compute(model, batch)  # noqa: E731
    bounds = [0, cuts[0], sum(cuts)]
    micro = [[collate(ROWS[a:b])] if b > a else [] for a, b in pairwise(bounds)]
    whole = torch.cat([objective.embed(model, batch).detach() for of_rank in micro for batch in of_rank])
    monkeypatch.setattr(parallel, "gather", lambda _: [[n, *whole.shape[1:]] if n else [0] for n in cuts])
    total = 0.0
    for rank in range(2):
        monkeypatch.setattr(parallel, "ranks", lambda rank=rank: parallel.Ranks(rank, 2))

        def add_up(tensors, rank=rank):
            own = slice(bounds[rank], bounds[rank + 1])
            torch.testing.assert_close(tensors[0][own], whole[own].double())
            tensors[0].copy_(whole)

        monkeypatch.setattr(parallel, "add_up_tensors", add_up)
        for batch in whole_step(objective, micro[rank], run):
            (part,) = objective.loss(model, batch)
            part.total.backward()
            total += float(part.total.detach())
    for a, b in zip(expected, [p.grad for p in model.parameters() if p.grad is not None], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    assert total == pytest.approx(float(objective.couple(whole).sum()), rel=1e-9)
