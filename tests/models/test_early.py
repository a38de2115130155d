"""Bengio's neural n-gram model and the LSTM: their formulas, their rows, and the stages that train and open them."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from lathe.core.recipe import parse
from lathe.core.types import Symbols
from lathe.models import LSTM, NeuralNGram
from lathe.models.pretrained import new_model
from lathe.objectives import CausalLM
from lathe.pretrain import Recipe, run

PRESETS = {
    "neural-ngram": NeuralNGram(order=4, embedding_size=8, hidden_size=16),
    "direct": NeuralNGram(order=3, embedding_size=8, hidden_size=16, direct=True, dropout=0.1),
    "lstm": LSTM(embedding_size=8, hidden_size=16, num_hidden_layers=2),
    "one layer": LSTM(embedding_size=8, hidden_size=8, num_hidden_layers=1),
}
ROWS = [[5, 6, 7, 8, 9, 10], [11], [12, 13], [14, 15, 16, 5]]


@pytest.fixture(params=list(PRESETS))
def model(request, tokenizer):
    return new_model(AutoModelForCausalLM, PRESETS[request.param].config(tokenizer), seed=0).eval()


@torch.no_grad()
def test_the_neural_n_gram_model_is_its_formula(tokenizer):
    preset = NeuralNGram(order=4, embedding_size=8, hidden_size=16, direct=True)
    model = new_model(AutoModelForCausalLM, preset.config(tokenizer), seed=0).eval()
    torch.nn.init.normal_(model.before)
    row = [5, 6, 7, 8, 9]
    logits = model(torch.tensor([row])).logits[0]
    table, u = model.embed_tokens.weight, model.lm_head
    for t in range(len(row)):
        x = torch.cat([table[row[i]] if i >= 0 else model.before for i in range(t - 2, t + 1)])
        y = u.weight @ torch.cat((torch.tanh(model.hidden.weight @ x + model.hidden.bias), x)) + u.bias
        torch.testing.assert_close(logits[t], y)


@torch.no_grad()
def test_the_lstm_is_its_formula(tokenizer):
    model = new_model(AutoModelForCausalLM, PRESETS["one layer"].config(tokenizer), seed=0).eval()
    w, u, b, c = (getattr(model.lstm, f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    state, cell = torch.zeros(8), torch.zeros(8)
    logits = model(torch.tensor([[5, 6, 7]])).logits[0]
    for t, word in enumerate([5, 6, 7]):
        i, f, g, o = (w @ model.embed_tokens.weight[word] + b + u @ state + c).chunk(4)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        state = o.sigmoid() * cell.tanh()
        torch.testing.assert_close(logits[t], model.embed_tokens.weight @ state)


@torch.no_grad()
def test_a_row_is_the_same_alone_and_padded_on_either_side(model):
    alone = [model(torch.tensor([row])).logits[0] for row in ROWS]
    for side in ("left", "right"):
        ids, mask = torch.full((4, 6), 3), torch.zeros(4, 6, dtype=torch.int64)
        for i, row in enumerate(ROWS):
            place = slice(6 - len(row), 6) if side == "left" else slice(0, len(row))
            ids[i, place], mask[i, place] = torch.tensor(row), 1
        together = model(ids, mask).logits
        for i in range(4):
            torch.testing.assert_close(together[i, mask[i] == 1], alone[i])


@torch.no_grad()
def test_a_position_sees_nothing_behind_it(model):
    whole = model(torch.tensor([ROWS[0]])).logits
    torch.testing.assert_close(model(torch.tensor([ROWS[0][:3]])).logits, whole[:, :3])


def test_the_neural_n_gram_model_sees_no_further_than_its_order(tokenizer):
    model = new_model(AutoModelForCausalLM, PRESETS["neural-ngram"].config(tokenizer), seed=0).eval()
    a, b = model(torch.tensor([[5, 6, 7, 8], [9, 6, 7, 8]])).logits
    torch.testing.assert_close(a[3], b[3])
    assert not torch.allclose(a[2], b[2])


def test_the_objective_and_the_labels_of_hugging_face_give_the_same_loss(model, tokenizer):
    rows = [{"input_ids": row} for row in ROWS]
    batch = CausalLM().collate(rows, np.zeros(4, np.uint64), Symbols.of(tokenizer))
    (part,) = CausalLM().loss(model, batch)
    labels = batch.inputs["input_ids"].masked_fill(batch.inputs["attention_mask"] == 0, -100)
    theirs = model(**batch.inputs, labels=labels).loss
    torch.testing.assert_close(part.total / part.items, theirs)


def test_it_generates(model):
    greedy = GenerationConfig(max_new_tokens=4, do_sample=False, use_cache=False, pad_token_id=0)
    out = model.generate(torch.tensor([[5, 6]]), attention_mask=torch.ones(1, 2), generation_config=greedy)
    assert out.shape == (1, 6)
    assert out[0, 2] == model(torch.tensor([[5, 6]])).logits[0, -1].argmax()


@pytest.mark.parametrize("kind", ["neural-ngram", "lstm"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_pretraining_makes_a_model_that_opens_again(tmp_path, tokenizer, kind, precision):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    texts = ["the film is good", "影片很好", "the plot is not bad", "a great film in Paris"] * 20
    (tmp_path / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    (tmp_path / "held.txt").write_text("\n".join(texts[:8]), encoding="utf-8")
    values = {
        "data": {"train": tmp_path / "texts.txt", "validation": tmp_path / "held.txt"},
        "tokenizer": tmp_path / "tokenizer",
        "model": {"kind": kind, "embedding_size": 16, "hidden_size": 32},
        "objective": "causal",
        "max_length": 16,
        "train": {"tokens_per_step": 128, "learning_rate": 0.02, "precision": precision, "epochs": 10},
    }
    bundle = run(parse(Recipe, values), tmp_path / "out")
    scores = bundle.manifest.scores
    assert scores["validation_loss"] < scores["unigram_entropy"] - 0.5
    AutoModelForCausalLM.from_pretrained(bundle.path)
    again = parse(
        Recipe, values | {"base": bundle.path, "tokenizer": None, "train": {"max_steps": 1, "tokens_per_step": 128}}
    )
    continued = run(again, tmp_path / "again").manifest.scores
    assert continued["validation_loss"] == pytest.approx(scores["validation_loss"], abs=0.1)
