"""The loss of distillation, the teacher's answers, and the student before it learns."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lathe.compress import distill
from lathe.compress.candidate import batch_logits, logits_of
from lathe.compress.distill import SoftTargets, divergence, soft_targets
from lathe.compress.student import Layers, check_same_tokens, evenly_spaced, keep_layers
from lathe.core.errors import RecipeError
from lathe.core.keyed import row_keys
from lathe.core.predictions import Span
from lathe.core.types import Symbols
from lathe.models.pretrained import new_model, open_model
from lathe.runtimes.eager import torch_forward
from lathe.tasks.examples import Examples

TAU, ALPHA = 2.0, 0.3
TEACHER = torch.tensor([[3.0, -1.0], [0.5, 0.0], [-2.0, 1.0]])
GOLD = torch.tensor([1, 0, 1])  # the teacher is wrong about the first row


class Fixed(torch.nn.Module):
    """A model that answers the same logits whatever it reads."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(logits)

    def forward(self, **inputs):
        return self


@pytest.fixture
def encoded(classify, tokenizer):
    rows = [
        {"text": text, "label": classify.labels[g]} for text, g in zip(("good", "bad film", "a"), GOLD, strict=True)
    ]
    return [row | {"soft": soft[None]} for row, soft in zip(classify.encode(rows, tokenizer), TEACHER, strict=True)]


def collated(objective, rows, tokenizer):
    return objective.collate(rows, np.zeros(len(rows), np.uint64), Symbols.of(tokenizer))


def combined(parts):
    return sum(part.weight * part.total / max(part.items, 1) for part in parts)


def reference(student, hard=GOLD, factor=TAU**2, swapped=False):
    p, q = (TEACHER / TAU).softmax(-1), (student / TAU).softmax(-1)
    p, q = (q, p) if swapped else (p, q)
    kl = (p * (p.log() - q.log())).sum(-1).mean()
    return (1 - ALPHA) * F.cross_entropy(student, hard) + ALPHA * factor * kl


STUDENT = torch.tensor([[0.2, 1.0], [-1.0, 0.3], [0.0, 0.1]])


def test_the_loss_is_that_of_hinton_2015(classify, encoded, tokenizer):
    objective = SoftTargets(classify, TAU, ALPHA)
    parts = objective.loss(Fixed(STUDENT), collated(objective, encoded, tokenizer))
    torch.testing.assert_close(combined(parts), reference(STUDENT))


@pytest.mark.parametrize("mistake", [{"hard": TEACHER.argmax(-1)}, {"factor": 1.0}, {"swapped": True}])
def test_the_loss_is_none_of_the_known_mistakes(classify, encoded, tokenizer, mistake):
    objective = SoftTargets(classify, TAU, ALPHA)
    loss = combined(objective.loss(Fixed(STUDENT), collated(objective, encoded, tokenizer)))
    assert abs(loss - reference(STUDENT, **mistake)) > 0.01


def test_no_gradient_reaches_the_teacher():
    teacher, student = TEACHER.clone().requires_grad_(), STUDENT.clone().requires_grad_()
    divergence(teacher, student, TAU).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


def test_a_hot_temperature_matches_centred_logits():
    def centred(logits):
        return logits - logits.mean(-1, keepdim=True)

    hot = 1e3
    expected = (centred(TEACHER) - centred(STUDENT)).square().sum() / (2 * TEACHER.shape[1])
    loss = divergence(TEACHER.double(), STUDENT.double(), hot) * hot**2
    torch.testing.assert_close(loss, expected.double(), rtol=1e-2, atol=0)


def test_a_cold_temperature_asks_for_the_teachers_choice():
    cold = 1e-3
    chosen = STUDENT.gather(1, TEACHER.argmax(-1, keepdim=True))[:, 0]
    torch.testing.assert_close(divergence(TEACHER, STUDENT, cold) * cold, (STUDENT.max(-1).values - chosen).sum())


def test_a_row_without_gold_has_no_item_of_the_gold_part(classify, encoded, tokenizer):
    objective = SoftTargets(classify, TAU, ALPHA)
    encoded[1] = encoded[1] | {"label": None}
    batch = collated(objective, encoded, tokenizer)
    gold, soft = objective.loss(Fixed(STUDENT), batch)
    assert (gold.items, soft.items) == (2, 3)
    assert dict(batch.items) == {"gold": 2, "teacher": 3}
    torch.testing.assert_close(gold.total, F.cross_entropy(STUDENT[[0, 2]], GOLD[[0, 2]], reduction="sum"))


def test_without_the_teacher_the_loss_is_the_tasks_own(classify, encoded, tokenizer, bert_config):
    model = new_model(classify.auto_model, bert_config, seed=0).eval()
    objective = SoftTargets(classify, TAU, 0.0)
    own = classify.loss(model, collated(classify, encoded, tokenizer))
    torch.testing.assert_close(combined(objective.loss(model, collated(objective, encoded, tokenizer))), combined(own))


def test_tags_are_learnt_at_each_word_and_nowhere_else(tag, tokenizer):
    text = "good film in Paris"
    known, unknown = tag.encode([{"text": text, "spans": (Span(13, 18, "LOC"),)}, {"text": "北京"}], tokenizer)
    soft = [torch.randn(4, 3), torch.randn(2, 3)]
    rows = [known | {"soft": soft[0]}, unknown | {"soft": soft[1]}]
    objective = SoftTargets(tag, TAU, ALPHA)
    batch = collated(objective, rows, tokenizer)
    student = torch.randn(2, 6, 3)  # [CLS] four words [SEP]
    gold, teacher = objective.loss(Fixed(student), batch)
    words = torch.cat([student[0, 1:5], student[1, 1:3]])
    assert (gold.items, teacher.items) == (4, 6)
    torch.testing.assert_close(
        gold.total, F.cross_entropy(student[0, 1:5], torch.tensor([0, 0, 0, 1]), reduction="sum")
    )
    torch.testing.assert_close(teacher.total, divergence(torch.cat(soft), words, TAU))


@pytest.mark.parametrize("kind", ["classify", "tag"])
def test_answers_do_not_depend_on_how_rows_are_batched(kind, request, tokenizer, bert_config, rows):
    task = request.getfixturevalue(kind)
    bert_config.id2label = dict(enumerate(task.outputs))
    forward = torch_forward(new_model(task.auto_model, bert_config, seed=0))
    encoded = task.encode([{"text": row["text"]} for row in rows[:9]], tokenizer)
    together = logits_of(forward, encoded, task, Symbols.of(tokenizer))
    for row, logits in zip(encoded, together, strict=True):
        torch.testing.assert_close(logits, batch_logits(forward, [row], task, Symbols.of(tokenizer))[0])


@pytest.fixture
def asked(classify, tokenizer, rows, monkeypatch, tmp_path):
    """Ask a counting teacher about the rows, in blocks of ten: (answers, rows that it was asked about)."""
    monkeypatch.setattr(distill, "ROWS_PER_BLOCK", 10)
    examples = Examples(rows[:25], classify.encode(rows[:25], tokenizer), row_keys("rows", 25))

    def ask():
        counts = []

        def forward(inputs):
            counts.append(len(inputs["input_ids"]))
            sums = inputs["input_ids"].sum(-1).float()
            return {"logits": torch.stack([sums, -sums], -1)}

        return soft_targets(forward, examples.source, classify, Symbols.of(tokenizer), tmp_path / "soft"), sum(counts)

    return ask


def test_the_teacher_is_asked_once(asked):
    first, again = asked(), asked()
    assert (first[1], again[1]) == (25, 0)
    assert all(torch.equal(a, b) for a, b in zip(first[0], again[0], strict=True))


def test_a_broken_block_is_asked_for_again(asked, tmp_path):
    first, _ = asked()
    file = next((tmp_path / "soft" / "000000010").glob("*/*.safetensors"))
    file.write_bytes(file.read_bytes()[:-1])
    again, count = asked()
    assert count == 10
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_kept_layers_are_evenly_spaced_with_both_ends():
    assert [evenly_spaced(12, n) for n in (1, 2, 4)] == [[0], [0, 11], [0, 4, 7, 11]]
    assert evenly_spaced(6, 6) == [0, 1, 2, 3, 4, 5]


def test_keeping_all_layers_keeps_every_answer(classify, bert_config):
    model = new_model(classify.auto_model, bert_config, seed=0).eval()
    inputs = {"input_ids": torch.tensor([[2, 5, 9, 3]]), "attention_mask": torch.ones(1, 4, dtype=torch.int64)}
    before = model(**inputs).logits
    assert torch.equal(keep_layers(model, 2)(**inputs).logits, before)


def test_a_student_of_fewer_layers_reloads_with_equal_logits(classify, gpt2_config, tmp_path):
    gpt2_config.n_layer, gpt2_config.pad_token_id = 3, 0
    student = keep_layers(new_model(classify.auto_model, gpt2_config, seed=0), None).eval()
    student.save_pretrained(tmp_path)
    inputs = {"input_ids": torch.tensor([[5, 9, 3]]), "attention_mask": torch.ones(1, 3, dtype=torch.int64)}
    reloaded = open_model(classify.auto_model, tmp_path).model.eval()
    assert reloaded.config.num_hidden_layers == 1
    assert torch.equal(reloaded(**inputs).logits, student(**inputs).logits)


def test_more_layers_than_the_teacher_has_are_refused(teacher, tokenizer):
    with pytest.raises(RecipeError, match=r"student.layers: 5 is more than the teacher has \(2\)"):
        Layers(layers=5).config(teacher, tokenizer)


def test_a_student_with_another_tokenizer_is_refused(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    check_same_tokens(tokenizer, tmp_path, ["good film"])
    tokenizer.add_tokens(["new"])
    with pytest.raises(RecipeError, match=r"another vocabulary than the teacher.*student.kind=layers"):
        check_same_tokens(tokenizer, tmp_path, ["good film"])


def test_a_student_that_cuts_a_text_differently_is_refused(tokenizer, tmp_path):
    file = tmp_path / "tokenizer.json"
    tokenizer.save_pretrained(tmp_path)
    file.write_text(file.read_text("utf-8").replace('"lowercase": false', '"lowercase": true'), "utf-8")
    with pytest.raises(RecipeError, match="cuts 'in Paris' into other tokens"):
        check_same_tokens(tokenizer, tmp_path, ["good film", "in Paris"])
