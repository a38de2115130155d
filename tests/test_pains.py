"""What hurts users of other toolkits, each pain a test named after the failure."""

import json
import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, DistilBertConfig

from lathe.cli import main
from lathe.core import packing
from lathe.core.data import Message
from lathe.core.predictions import Event, Span, Text
from lathe.core.predictor import TaskPredictor
from lathe.core.search import Best, Collection
from lathe.core.tagging import join_tokens
from lathe.core.types import IGNORE, Symbols
from lathe.generation import Generation
from lathe.models.pretrained import new_model, open_model, open_tokenizer, save_model
from lathe.runtimes.eager import torch_forward
from lathe.tasks import AnswerQuestion, Chat, Choose, Classify, Embed, FindEvents, MultiLabel, Relate, Tag, Transform
from lathe.tasks.conversations import prepare
from lathe.tasks.windows import Read


def collated(task, encoded, tokenizer):
    """One batch of some rows."""
    return task.collate(encoded, np.zeros(len(encoded), np.uint64), Symbols.of(tokenizer))


# ----------------------------------------------------------------------------------------------------- classification
def test_class_weights_make_the_step_depend_on_how_it_is_cut():
    """transformers #47688 and PyTorch's mean by weights: the parts of a step do not add up to the step."""
    task = Classify(labels=("a", "b"), class_weights={"b": 9.0})
    logits, labels = torch.randn(4, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 0, 0, 1])
    halves = [task.losses(logits[half], labels[half]).sum() for half in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(task.losses(logits, labels).sum(), sum(halves))
    theirs = torch.nn.CrossEntropyLoss(torch.tensor([1.0, 9.0]))
    assert abs(theirs(logits, labels) - (theirs(logits[:2], labels[:2]) + theirs(logits[2:], labels[2:])) / 2) > 1e-3


def test_what_stands_behind_the_longest_input_is_never_seen(tokenizer):
    """transformers #14631, #15177, simpletransformers #227: a text is classified by its first 512 tokens."""
    asked = tokenizer.convert_tokens_to_ids("awful")

    def forward(inputs):
        there = (inputs["input_ids"] == asked).any(-1).float()
        return {"logits": torch.stack([20 * there, 1 - there], -1)}

    text = "good film " * 40 + "awful"
    read, cut = (
        TaskPredictor(Classify(labels=("neg", "pos"), max_length=16, stride=stride), tokenizer, forward)([text])[0]
        for stride in (4, None)
    )
    assert (read.label, cut.label) == ("neg", "pos")


def test_token_types_break_models_that_have_none(tokenizer, tmp_path):
    """A DistilBERT saved beside a tokenizer of BERT's: `token_type_ids` is an unexpected keyword argument."""
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    config = DistilBertConfig(vocab_size=len(tokenizer), dim=16, n_layers=1, n_heads=2, hidden_dim=32)
    save_model(new_model(AutoModelForMaskedLM, config, seed=0), tokenizer, tmp_path / "base")
    task, found = Classify(labels=("no", "yes")), open_tokenizer(tmp_path / "base")
    encoded = task.encode([{"text": "good", "text_pair": "bad", "label": "no"}], found)
    model = open_model(task.auto_model, tmp_path / "base", task.outputs).model
    assert torch.isfinite(task.loss(model, collated(task, encoded, found))[0].total)


def test_padding_choices_take_part_in_the_softmax(tokenizer):
    """Rows with two and with five choices: the two share all of the probability."""
    rows = [
        {"text": "a film", "choices": ("good", "bad")},
        {"text": "a film", "choices": ("good", "bad", "a", "is", "not")},
    ]
    encoded = Choose().encode(rows, tokenizer)
    first, _ = Choose().decode({"logits": torch.zeros(7, 1)}, encoded, tokenizer)
    assert first.scores == (0.5, 0.5)


def test_a_row_with_no_label_at_all_is_dropped_or_breaks_training(tokenizer):
    task = MultiLabel(labels=("a", "b"))
    (encoded,) = task.encode([{"text": "good", "labels": ()}], tokenizer)
    assert collated(task, [encoded], tokenizer).items == {"multilabel": 2}


# -------------------------------------------------------------------------------- bad rows, before any model is loaded
X, Y = ({"text": text, "label": label} for text, label in ("ax", "by"))


def choosing(choices, label):
    return {"text": "a", "choices": choices, "label": label}


@pytest.mark.parametrize(
    ("task", "rows", "told"),
    [
        ({"kind": "classify"}, [X, {"text": "b", "label": ""}], r"the labels are \('x',\): there is nothing to tell"),
        (
            {"kind": "classify", "class_weights": {"X": 2}},
            [X, Y],
            r"task\.class_weights: 'X' is not one of x, y",
        ),
        ({"kind": "classify", "class_weights": {"x": 0}}, [X, Y], r"class_weights.*greater than 0"),
        ({"kind": "classify", "pair": True}, [X, Y], r"no column for text_pair; the columns are"),
        ({"kind": "classify", "stride": 30}, [X, Y], r"task\.stride: windows that have 30 tokens .* overlap by 30"),
        ({"kind": "multilabel"}, [{"text": "a", "labels": []}], r"the labels are \(\): there is nothing to tell apart"),
        ({"kind": "multilabel"}, [{"text": "a", "labels": "x, y"}], r"several labels, or one\?.*write a list"),
        ({"kind": "multilabel", "threshold": 1}, [{"text": "a", "labels": ["x"]}], r"threshold.*less than 1"),
        ({"kind": "score"}, [{"text": "a", "score": "high"}], r"rows\.jsonl:1.*score.*high"),
        ({"kind": "score"}, [{"text": "a", "score": None}], r"rows\.jsonl:1.*the score is missing"),
        ({"kind": "choose"}, [choosing(["b"], 0)], r"1 choices: there is nothing to choose"),
        ({"kind": "choose"}, [choosing(["b", "c"], 2)], r"there is no choice 2"),
        ({"kind": "choose", "stride": 4}, [choosing(["b", "c"], 1)], r"stride: no such option"),
    ],
)
def test_bad_rows_and_options_fail_late_with_a_traceback(task, rows, told, tmp_path, tokenizer, bert_config, capsys):
    """LlamaFactory #5503, autotrain #71, #101: here before a model is loaded, with the place and the way out."""
    bert_config.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "base/model.safetensors").write_bytes(b"not weights: whoever opens them fails")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "recipe.toml").write_text(
        'verb = "finetune"\n[task]\n' + "".join(f"{n} = {toml(v)}\n" for n, v in task.items()), encoding="utf-8"
    )
    given = [str(tmp_path / "recipe.toml"), f"base={tmp_path / 'base'}", f"data.train={tmp_path / 'rows.jsonl'}"]
    assert main(["finetune", *given, "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert re.search(told, said, re.DOTALL), said
    assert "Traceback" not in said


def toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml(inner)}" for name, inner in value.items()) + "}"
    return json.dumps(value)


# --------------------------------------------------------------------------------------------- sequences and dialogue
CHAT = Chat(max_length=30, generation=Generation(max_new_tokens=4))


def conversations(*turns):
    return [{"messages": (Message("user", asked), Message("assistant", answer))} for asked, answer in turns]


def test_a_model_is_asked_in_another_way_than_it_was_taught(tokenizer):
    """LlamaFactory #8720, #2509 (26 % in place of 57 %), ms-swift #6267, vllm #5298: another template in service."""
    prepare(tokenizer)
    (taught,) = CHAT.encode(conversations(("good film", "not bad")), tokenizer)
    (asked,) = CHAT.encode([{"messages": (Message("user", "good film"),)}], tokenizer)
    (lesson,) = taught["lessons"]
    assert asked["input_ids"] == lesson["input_ids"][: lesson["learnt"].index(True)]


def test_packed_conversations_see_one_another(tokenizer, gpt2_config):
    """trl #805, LlamaFactory #2289, transformers PR #46634: attention across the samples of a packed row."""
    prepare(tokenizer)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(gpt2_config).eval()
    packing.enable(model)
    rows = [row["lessons"][0] for row in CHAT.encode(conversations(("good", "bad"), ("很好", "很坏")), tokenizer)]
    with torch.no_grad():
        together = CHAT.loss(model, collated(CHAT, rows, tokenizer))[0].total
        alone = sum(CHAT.loss(model, collated(CHAT, [row], tokenizer))[0].total for row in rows)
    torch.testing.assert_close(together, alone)


def test_the_questions_are_learnt_too_and_the_end_of_an_answer_is_not(tokenizer):
    """A model that asks its own next question, and one that never stops."""
    prepare(tokenizer)
    rows = [row["lessons"][0] for row in CHAT.encode(conversations(("good film", "not bad")), tokenizer)]
    labels = collated(CHAT, rows, tokenizer).targets["labels"]
    assert tokenizer.convert_ids_to_tokens(labels[labels != IGNORE].tolist()) == ["not", "bad", "[SEP]"]


def test_chinese_translations_score_nothing_between_spaces():
    """sacrebleu #147, evaluate #108: by words, of which Chinese has one a sentence, a near miss has no match at all."""
    pytest.importorskip("sacrebleu")
    bleu = Transform().metrics["bleu"]
    assert bleu([("今天天气很好，我们去公园。",)], [Text("今天天气很好，我们去海边。")]) > 60


def test_a_summary_is_of_the_first_512_tokens_only(tokenizer):
    """simpletransformers #227: what stands behind the longest input is never read."""
    source = "good film. " * 9 + "Paris."
    (row,) = Transform(max_length=12, long_source="windows").encode([{"source": source}], tokenizer)
    (wanted,) = tokenizer.encode("Paris", add_special_tokens=False)
    assert any(wanted in window["input_ids"] for window in row["windows"])
    (cut,) = Transform(max_length=12).encode([{"source": source}], tokenizer)
    assert cut["truncated"] == len(tokenizer.encode(source)) - 12


# ------------------------------------------------------------------------------------------------------------ tagging
def knowing(task, tokenizer, word):
    """A predictor that sees ``word``, and nothing else, wherever it stands in what it is shown."""
    (token,) = tokenizer(word, add_special_tokens=False)["input_ids"]

    def forward(inputs):
        return {"logits": 20.0 * F.one_hot((inputs["input_ids"] == token).long(), len(task.outputs)).float()}

    return TaskPredictor(task, tokenizer, forward)


@pytest.mark.parametrize(("filler", "name"), [("good film ", "Paris"), ("很好影片", "北")])
def test_names_behind_the_longest_input_are_silently_lost(tokenizer, filler, name):
    """transformers #14631, #15177, PR #21771; rehydra-sdk PR #83: names past 512 tokens left in the clear."""
    text = f"{filler * 40}{name}"
    (answer,) = knowing(Tag(labels=("LOC",), max_length=16), tokenizer, name)([text])
    assert [text[s.start : s.end] for s in answer.spans] == [name]


def test_a_label_on_every_piece_of_a_word_falsifies_the_score(tokenizer):
    """transformers #14043 (label_all_tokens): long words count more than once."""
    text, offsets = join_tokens(["good-bad-film", "Paris"])
    row = {"text": text, "tokens": ["good-bad-film", "Paris"], "offsets": offsets, "spans": (Span(14, 19, "LOC"),)}
    task = Tag(labels=("LOC",), max_length=16)
    labels = collated(task, task.encode([row], tokenizer), tokenizer).targets["labels"]
    assert (labels != IGNORE).sum() == 2


def test_an_inside_tag_that_follows_nothing_is_an_entity_of_its_own(tokenizer):
    """transformers #10263: raw tags of each word by itself come out as O I-LOC."""
    task = Tag(labels=("LOC",), max_length=16)
    logits = torch.tensor([[[0.0, 0, 0], [1.0, 0, 0], [0, 0.5, 1.0], [0, 0, 0]]])  # [CLS] O I [SEP]
    (answer,) = TaskPredictor(task, tokenizer, lambda _: {"logits": logits})([{"tokens": ["good", "Paris"]}])
    assert answer.tags == ("O", "B-LOC")


# ------------------------------------------------------------------------------------------------- question answering
READER = AnswerQuestion(max_length=24, stride=8)


def question(context, answer=None, **more):
    answers = () if answer is None else ((answer, context.index(answer)),)
    return {"context": context, "question": "film", "answers": answers} | more


def test_the_loss_of_an_answer_depends_on_who_shares_its_batch(tokenizer, bert_config):
    """transformers 5: the softmax runs over the padding too, so accumulated steps go 8.7 % elsewhere."""
    torch.manual_seed(0)
    model = READER.auto_model.from_config(bert_config).eval()
    row, longer = READER.encode([question("in Paris", "Paris"), question("good plot " * 9)], tokenizer)
    alone, beside = (collated(READER, rows, tokenizer) for rows in ([row], [row, longer]))
    other = collated(READER, [longer], tokenizer)
    total = lambda batch: READER.loss(model, batch)[0].total.item()  # noqa: E731
    assert total(beside) == pytest.approx(total(alone) + total(other), rel=1e-5)


@pytest.mark.parametrize(("filler", "name"), [("good film ", "Paris"), ("很好影片", "北京")])
def test_an_answer_behind_the_longest_input_is_never_found(filler, name, tokenizer):
    """simpletransformers #227, transformers #23835: the context is cut at 512 without a word."""
    row = question(f"{filler * 40}{name}", name)
    pieces = tokenizer(name, add_special_tokens=False)["input_ids"]

    def forward(inputs):
        ids = inputs["input_ids"]
        starts, ends = (20.0 * (ids == piece).float() for piece in (pieces[0], pieces[-1]))
        starts[:, 0], ends[:, 0] = 1, 1
        return {"start_logits": starts, "end_logits": ends}

    (answer,) = TaskPredictor(READER, tokenizer, forward)([{name: row[name] for name in ("context", "question")}])
    assert (answer.text, answer.start) == (name, row["context"].index(name))


@pytest.mark.parametrize(
    "context", ["《影片》：北京　很好", "𝒜 film in Paris 😀 北京!", "ＰＡＲＩＳ北京", "e\u0301 北京"]
)
def test_places_in_normalised_text_are_not_those_of_the_users_text(context, tokenizer):
    """PaddleNLP PR #2508, EuroEval PR #2173 (EM 46.7 to 8), cmrc2018 #9: offsets of what a tokenizer made of it."""
    (row,) = READER.encode([question(context, "北京")], tokenizer)
    start, end = (row["offsets"][place - row["first"]] for place in row["span"])
    assert context[start[0] : end[1]] == "北京"


def test_a_question_without_an_answer_gets_one_all_the_same(tokenizer):
    """MRQA #11: impossible questions; here a threshold is found for them, and test rows have no part in it."""
    golds = [("Paris",), ()]
    encoded = READER.encode([question("in Paris", "Paris"), question("good plot")], tokenizer)
    batch = collated(READER, encoded, tokenizer)
    starts, ends = (8.0 * F.one_hot(column, batch.inputs["input_ids"].shape[1]) for column in batch.targets["labels"].T)
    given = READER.decode({"start_logits": starts, "end_logits": ends}, encoded, tokenizer)
    assert all(one.text for one in given)
    assert [one.text for one in READER.tuned(golds, given).decided(given)] == ["Paris", ""]


def test_the_same_question_is_answered_otherwise_in_another_batch(tokenizer, bert_config):
    torch.manual_seed(0)
    predictor = TaskPredictor(READER, tokenizer, torch_forward(READER.auto_model.from_config(bert_config)), 48)
    rows = [{"context": f"{'good film ' * n}in Paris", "question": "film"} for n in (0, 3, 30)]
    for row, together in zip(rows, predictor(rows), strict=True):
        (alone,) = predictor([row])
        assert (alone.start, alone.end) == (together.start, together.end)
        assert alone.score == pytest.approx(together.score, abs=1e-5)


# ---------------------------------------------------------------------------------------------------------- relations
def test_unlabelled_pairs_are_left_out_of_training_and_every_pair_has_a_relation(tokenizer):
    """dygiepp #34 and scripts for marked pairs alone: nothing teaches that two entities may have nothing to do."""
    tokenizer.add_tokens([*"@#*"])
    film, paris = Span(0, 4, "ART"), Span(8, 13, "LOC")
    row = {"text": "film or Paris", "spans": (film, paris), "relations": ()}
    (encoded,) = Relate(labels=("in",)).encode([row], tokenizer)
    assert [piece["golds"] for piece in encoded["windows"]] == [(0,), (0,)]


def test_a_text_that_holds_the_marks_marks_something(tokenizer):
    """Scripts that look for their markers in the text find the first ones, whoever wrote them."""
    tokenizer.add_tokens([*"@#*"])
    text = "@ film # in @ Paris #"
    film, paris = Span(2, 6, "ART"), Span(14, 19, "LOC")
    row = {"text": text, "spans": (film, paris), "pairs": ((film, paris),), "relations": ()}
    (encoded,) = Relate(labels=("in",)).encode([row], tokenizer)
    (piece,) = encoded["windows"]
    before = [tokenizer.convert_ids_to_tokens(piece["input_ids"][place - 1]) for place in piece["pieces"]]
    assert before == ["film", "Paris"]


def test_an_argument_of_two_events_keeps_the_role_of_one(tokenizer):
    """Taggers with one sequence of roles for a whole text: what buyer and seller share belongs to one of them."""
    tokenizer.add_tokens([*"@#*"])
    paris = (0, 5)
    events = (
        Event(Span(9, 14, "A"), (Span(*paris, "host"),)),
        Event(Span(19, 22, "B"), (Span(*paris, "guest"),)),
    )
    task = FindEvents(labels=("A", "B", "role:guest", "role:host"))
    (encoded,) = task.encode([{"text": "Paris is great and bad", "events": events}], tokenizer)
    _, *windows = encoded["lessons"]
    assert [task.outputs[window["tags"][0]] for window in windows] == ["role:B-host", "role:B-guest"]


# ---------------------------------------------------------------------------------------------------------- retrieval
def test_pairs_grow_with_the_square_of_the_rows():
    """setfit #472, #547 (46.6 GiB), #628: every pair of texts is written down. Here each positive is one lesson."""
    word = {f"text {number}": Read(({"input_ids": [number]},), 0) for number in range(12)}
    rows = [{"query": f"text {n}", "positives": (f"text {n + 1}",), "negatives": ()} for n in range(0, 12, 2)]
    encoded = [Embed(scored=False)._encoded(row, [row["query"], *row["positives"]], word, {}) for row in rows]
    assert [len(row["lessons"]) for row in encoded] == [1] * 6
    assert sum(len(lesson["texts"]) for row in encoded for lesson in row["lessons"]) == 12


def test_a_collapsed_model_finds_everything_because_the_collection_begins_with_what_is_sought():
    """Equal scores in the order of the file: the first hundred are the answers. Here the order tells nothing."""
    texts = [f"text {number}" for number in range(1000)]
    found = []
    for run in range(20):
        collection = Collection.of({f"{run} {text}": text for text in texts}, "")
        best = Best(1)
        best.add(torch.zeros(1, 1000), 0)
        found.append(len({f"text {number}" for number in range(100)} & {*best.rankings(collection.names)[0].ids}))
    assert np.mean(found) == pytest.approx(10, abs=3)
