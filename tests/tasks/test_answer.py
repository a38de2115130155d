"""Answers: characters of the context as it was given, whatever the window they stand in; or none, by a threshold."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers.loss.loss_utils import ForQuestionAnsweringLoss

from lathe.core.metrics import answer_f1
from lathe.core.predictions import Answer
from lathe.core.predictor import TaskPredictor
from lathe.core.types import IGNORE, Symbols
from lathe.models.baselines import rarest_words
from lathe.runtimes.eager import torch_forward
from lathe.tasks import AnswerQuestion

TASK = AnswerQuestion(max_length=16, stride=4)


def asked(context, *answers, question="film"):
    return {"context": context, "question": question, "answers": tuple((a, context.index(a)) for a in answers)}


def collated(encoded, tokenizer):
    pieces = [piece for row in encoded for piece in row.get("windows", [row])]
    return pieces, TASK.collate(pieces, np.zeros(len(pieces), np.uint64), Symbols.of(tokenizer))


def oracle(rows, tokenizer, task=TASK):
    """Predictions of a model that is sure of every window's gold."""
    encoded = task.encode(rows, tokenizer)
    answers = []
    for row in encoded:
        pieces, batch = collated([row], tokenizer)
        starts, ends = F.one_hot(batch.targets["labels"], batch.inputs["input_ids"].shape[1]).float().unbind(1)
        found = task.decode({"start_logits": 50 * starts, "end_logits": 50 * ends}, pieces, tokenizer)
        answers.append(task.merge(found, row) if "windows" in row else found[0])
    return answers


ROWS = [
    asked("a great film in Paris", "Paris"),
    asked("影片很好在北京很好", "北京", question="影片"),
    asked("the 北京 film is good", "北京 film"),
    asked("  bad   plot\n", "bad   plot"),
    asked("好", "好"),
    asked(f"{'good film ' * 20}in Paris {'bad plot ' * 20}", "in Paris"),
    asked(f"{'影片很好' * 20}北京{'不好' * 20}", "北京"),
    asked("Paris \ud800 film Paris", "film"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: ascii(row["context"][:20]))
def test_an_oracles_answer_is_the_gold_in_the_users_own_characters(row, tokenizer):
    (answer,) = oracle([row], tokenizer)
    text, start = row["answers"][0]
    assert (answer.text, answer.start, answer.end) == (text, start, start + len(text))
    assert answer.score > 0.99
    if "\ud800" not in row["context"]:
        assert answer_f1([TASK.gold(row)], [answer]) == 1


def test_the_question_stands_before_the_context_with_a_type_of_its_own(tokenizer):
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    _, batch = collated(TASK.encode([asked("in Paris", "Paris", question="good film")], tokenizer), tokenizer)
    tokens = tokenizer.convert_ids_to_tokens(batch.inputs["input_ids"][0].tolist())
    assert tokens == ["[CLS]", "good", "film", "[SEP]", "in", "Paris", "[SEP]"]
    assert batch.inputs["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 1]]
    assert batch.targets["labels"].tolist() == [[5, 5]]


def test_the_answer_is_learnt_where_it_stands_whole_and_no_answer_elsewhere(tokenizer):
    (row,) = TASK.encode([asked(f"{'good ' * 14}Paris {'bad ' * 14}".strip(), "Paris")], tokenizer)
    pieces, batch = collated([row], tokenizer)
    whole = [tokenizer.convert_tokens_to_ids("Paris") in piece["input_ids"] for piece in pieces]
    assert any(whole) and not all(whole)
    for holds, piece, (start, end) in zip(whole, pieces, batch.targets["labels"].tolist(), strict=True):
        assert piece["input_ids"][start] == tokenizer.convert_tokens_to_ids("Paris" if holds else "[CLS]")
        assert start == end
    assert batch.items == {"answer": len(pieces)}


def test_nothing_is_learnt_from_parts_of_an_answer_that_fits_into_no_window(tokenizer):
    long = ("good bad " * 15).strip()
    (row,) = TASK.encode([asked(f"{'film ' * 12}{long}{' plot' * 12}", long)], tokenizer)
    assert row["unreachable"] == 1
    pieces, batch = collated([row], tokenizer)
    labels = batch.targets["labels"]
    touched = torch.tensor([tokenizer.convert_tokens_to_ids("good") in piece["input_ids"] for piece in pieces])
    assert (labels[touched] == IGNORE).all() and (labels[~touched] == 0).all()
    assert batch.items == {"answer": int((~touched).sum())}


def test_an_answer_that_ends_inside_a_token_is_widened_counted_and_scored_as_given(tokenizer):
    row = asked("the Paris film", "Pari")
    (encoded,) = TASK.encode([row], tokenizer)
    assert encoded["widened"] == 1
    (answer,) = oracle([row], tokenizer)
    assert answer.text == "Paris"
    assert answer_f1([TASK.gold(row)], [answer]) == 0


def test_a_question_takes_at_most_half_of_a_window_and_what_is_cut_is_counted(tokenizer):
    row = asked("in Paris " * 9, "Paris", question="good " * 30)
    (encoded,) = TASK.encode([row], tokenizer)
    assert encoded["truncated"] == 30 - (16 - 3) // 2
    assert all(len(window["input_ids"]) == 16 for window in encoded["windows"])
    assert oracle([row], tokenizer)[0].text == "Paris"


def test_the_loss_is_hugging_faces_among_the_tokens_that_may_answer(tokenizer, bert_config):
    torch.manual_seed(0)
    model = TASK.auto_model.from_config(bert_config).eval()
    _, batch = collated(TASK.encode(ROWS, tokenizer), tokenizer)
    (part,) = TASK.loss(model, batch)
    with torch.no_grad():
        out = model(**batch.inputs)
    far = torch.finfo(torch.float32).min
    logits = [each.masked_fill(~batch.targets["may_answer"], far) for each in (out.start_logits, out.end_logits)]
    theirs = ForQuestionAnsweringLoss(*logits, *batch.targets["labels"].unbind(1))
    torch.testing.assert_close(part.total / part.items, theirs)


def test_a_prediction_does_not_depend_on_its_batch_mates(tokenizer, bert_config):
    torch.manual_seed(0)
    task = AnswerQuestion(max_length=32, stride=8, top_k=3)
    predictor = TaskPredictor(task, tokenizer, torch_forward(task.auto_model.from_config(bert_config)), 64)
    rows = [{"context": row["context"], "question": row["question"]} for row in ROWS]
    for row, together in zip(rows, predictor(rows), strict=True):
        (alone,) = predictor([row])
        assert (alone.text, alone.start) == (together.text, together.start)
        assert alone.score == pytest.approx(together.score, abs=1e-5)


def by_hand(start, end, width):
    """Every legal pair of one window, the best first."""
    pairs = [(start[i] + end[j], i, j) for i in range(len(start)) for j in range(i, min(len(end), i + width))]
    return sorted(pairs, reverse=True)


def test_the_best_span_is_the_best_of_all_legal_pairs(tokenizer):
    task = AnswerQuestion(max_length=16, max_answer_length=3, n_best_size=4, top_k=2)
    (row,) = task.encode([{"context": "a great film in Paris not bad", "question": "plot"}], tokenizer)
    for seed in range(20):
        start, end = torch.randn(2, 1, len(row["input_ids"]), generator=torch.Generator().manual_seed(seed))
        (answer,) = task.decode({"start_logits": start, "end_logits": end}, [row], tokenizer)
        inside = slice(row["first"], row["first"] + 7)
        best = by_hand(start[0, inside].tolist(), end[0, inside].tolist(), 3)[:4]
        spans = [row["context"][row["offsets"][i][0] : row["offsets"][j][1]] for _, i, j in best]
        assert [answer.text, *(other.text for other in answer.others)] == spans[:2]
        null = float(start[0, 0] + end[0, 0])
        total = sum(math.exp(score) for score, _, _ in best) + math.exp(null)
        assert answer.score == pytest.approx(math.exp(best[0][0]) / total, rel=1e-4)
        assert answer.no_answer == pytest.approx(math.exp(null) / total, rel=1e-4)


def test_no_answer_is_spoken_for_by_the_window_that_is_least_sure_of_it(tokenizer):
    answer = oracle([asked(f"{'good film ' * 20}in Paris {'bad plot ' * 20}", "Paris")], tokenizer)[0]
    assert answer.no_answer < 0.01
    none = oracle([asked("good film " * 30)], tokenizer)[0]
    assert none.no_answer > 0.99
    assert none.start is not None  # without a threshold there is always an answer


def told(margin, text):
    """An answer whose odds against there being one are e^margin."""
    none = 0.5 / (1 + math.exp(-margin))
    return Answer(text, 0, len(text), 0.5 - none, none)


def test_the_threshold_is_the_one_that_scores_best_on_validation_rows():
    golds = [("Paris",), ("film",), (), (), ("plot",)]
    answers = [told(-3, "Paris"), told(1, "film"), told(2, "good"), told(5, "bad"), told(4, "wrong")]
    task = TASK.tuned(golds, answers)
    assert 1 < task.null_score_diff_threshold < 2
    assert [one.text for one in task.decided(answers)] == ["Paris", "film", "", "", ""]
    assert [one.to_json() for one in task.decided(task.decided(answers))] == [
        one.to_json() for one in task.decided(answers)
    ]


@pytest.mark.parametrize("seed", range(10))
def test_no_other_threshold_scores_better(seed):
    draw = np.random.default_rng(seed)
    golds = [("Paris",) if draw.random() < 0.6 else () for _ in range(12)]
    answers = [told(float(draw.integers(-3, 4)), "Paris" if draw.random() < 0.7 else "bad") for _ in golds]
    if all(golds):
        golds[0] = ()
    best = answer_f1(golds, TASK.tuned(golds, answers).decided(answers))
    others = [AnswerQuestion(null_score_diff_threshold=t).decided(answers) for t in np.arange(-4, 5, 0.5).tolist()]
    assert best == pytest.approx(max(answer_f1(golds, other) for other in others))


def test_a_threshold_that_is_given_is_kept_and_rows_that_all_have_answers_need_none():
    fixed = AnswerQuestion(null_score_diff_threshold=0.5)
    assert fixed.tuned([()], [told(3, "x")]) is fixed
    assert TASK.tuned([("x",)], [told(3, "x")]) is TASK


def test_a_model_that_tells_no_two_texts_apart_gets_no_token_types(tokenizer):
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    _, batch = collated(TASK.encode(ROWS[:2], tokenizer), tokenizer)
    assert set(batch.inputs) == {"input_ids", "attention_mask"}


def test_without_a_token_for_the_whole_text_the_last_one_stands_for_no_answer(tokenizer):
    from tokenizers import processors

    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel()  # nothing around a text, as GPT-2's
    tokenizer.eos_token = "[SEP]"
    (row,) = TASK.encode([asked("in Paris")], tokenizer)
    assert tokenizer.convert_ids_to_tokens(row["input_ids"]) == ["film", "[SEP]", "in", "Paris"]
    assert row["span"] == (3, 3)


def test_the_baseline_finds_the_rare_words_of_the_nearest_sentence():
    rows = [
        asked("The film is good. The plot is by Ann Lee.", "Ann Lee", question="Who wrote the plot?"),
        asked("The film is bad. The plot is by Bo Li.", "Bo Li", question="Who wrote the plot?"),
        asked("影片很好。导演是李安。", "李安", question="导演是谁"),
    ]
    answers = rarest_words(rows)(rows)
    assert [answer.text for answer in answers] == ["Ann Lee", "Bo Li", "李安"]
    assert all(row["context"][a.start : a.end] == a.text for row, a in zip(rows, answers, strict=True))


def test_the_baseline_gives_no_answer_where_most_rows_have_none():
    rows = [asked("in Paris"), asked("good film"), asked("in Paris", "Paris")]
    assert [answer.text for answer in rarest_words(rows)(rows)] == ["", "", ""]
