"""Rows as a model sees them: read off the tensors of training, aligned on a terminal."""

import json
from types import SimpleNamespace

import pytest
import torch
from rich.cells import cell_len
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    BartConfig,
    PreTrainedTokenizerFast,
)

from lathe.core.errors import LatheError
from lathe.core.keyed import row_keys
from lathe.core.recipe import parse
from lathe.core.types import IGNORE, Batch
from lathe.inspect.check import Recipe, run
from lathe.inspect.view import WIDTH, drawn, views
from lathe.tasks import Tag


@pytest.fixture
def base(tmp_path, tokenizer, bert_config):
    bert_config.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "base" / "model.safetensors").write_bytes(b"never opened")
    return tmp_path / "base"


def check(tmp_path, rows, **options):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return run(parse(Recipe, {"data": {"file": str(path)}} | options))


def task_of(head, inputs, targets, outputs=()):
    """A task whose one row is these tensors."""
    ids = torch.tensor(inputs)
    batch = Batch({"input_ids": ids, "attention_mask": (ids != 0).long()}, targets, {})
    return SimpleNamespace(auto_model=head, outputs=outputs, collate=lambda *_: batch)


def seen(task, tokenizer):
    (view,) = views(task, [{"input_ids": [1]}], row_keys("file", 1), tokenizer)
    return view["parts"][0]


def ids(tokenizer, text):
    return tokenizer(text).input_ids


def test_tags_stand_below_their_pieces_without_a_model_being_loaded(tmp_path, base):
    told = check(tmp_path, [{"text": "in Paris 北京", "spans": [[3, 8, "LOC"], [9, 11, "LOC"]]}], base=str(base))
    (example,) = told.values["examples"]
    (sequence,) = example["parts"][0]["sequences"]
    assert sequence["pieces"] == ["[CLS]", "in", "Paris", "北", "京", "[SEP]"]
    assert sequence["places"] == {"labels": [None, "O", "B-LOC", "B-LOC", "I-LOC", None]}
    assert "         [CLS] in Paris 北    京    [SEP]\n  labels ·     O  B-LOC B-LOC I-LOC ·" in told.text
    assert told.values["task"]["kind"] == "tag"


def test_columns_are_as_wide_as_a_terminal_shows_them():
    pieces = ["北", "film", "京"] * 30
    view = {
        "parts": [{"sequences": [{"pieces": pieces, "places": {"labels": ["B-x"] * 90}}], "targets": {}}],
        "truncated": 0,
    }
    first, second = [line for line in drawn(view, "line 1")][1:3]
    starts = [cell_len(first[:place]) for place in range(len(first)) if first[place] in "北f京"]
    assert starts == [place for place in range(len(second)) if second[place] == "B"]
    assert max(map(cell_len, drawn(view, "line 1"))) <= WIDTH


def test_what_is_cut_off_is_said(tmp_path, base):
    told = check(tmp_path, [{"text": "film " * 40, "label": label} for label in "ab"], base=str(base), examples=1)
    assert (told.values["rows_cut_off"], told.values["tokens_cut_off"], told.values["tokens"]["longest"]) == (2, 20, 32)
    assert "2 rows are longer than 32 tokens; 20 tokens are cut off" in told.text
    assert "line 1: 32 tokens; labels = a\n" in told.text
    assert "... 10 more tokens are cut off" in told.text
    assert len(told.values["examples"]) == 1


def test_windows_are_shown_one_after_the_other(tokenizer):
    windows = [{"input_ids": ids(tokenizer, text), "pieces": [1], "tags": [0]} for text in ("film", "plot", "in", "is")]
    task = Tag(labels=("LOC",))
    (view,) = views(task, [{"windows": windows, "truncated": 0}], row_keys("file", 1), tokenizer)
    assert [window["sequences"][0]["pieces"][1] for window in view["parts"]] == ["film", "plot", "in", "is"]
    lines = list(drawn(view, "line 1"))
    assert "line 1, part 2 of 4: 3 tokens" in lines
    assert lines[-1] == "  ... and 1 more parts"


def test_every_choice_is_a_sequence(tokenizer):
    choices = [[ids(tokenizer, "film good")], [[*ids(tokenizer, "film"), 0]]]
    found = seen(task_of(AutoModelForMultipleChoice, choices, {"labels": torch.tensor([1])}), tokenizer)
    assert [one["pieces"][1:-1] for one in found["sequences"]] == [["film", "good"], ["film"]]
    assert found["targets"] == {"labels": 1}


def test_labels_of_a_text_are_named(tokenizer):
    task = task_of(
        AutoModelForSequenceClassification,
        [ids(tokenizer, "film")],
        {"labels": torch.tensor([[1.0, 0.0, 1.0]])},
        ("a", "b", "c"),
    )
    assert seen(task, tokenizer)["targets"] == {"labels": ["a", "c"]}
    number = task_of(
        AutoModelForSequenceClassification, [ids(tokenizer, "film")], {"labels": torch.tensor([0.5])}, ("score",)
    )
    assert seen(number, tokenizer)["targets"] == {"labels": 0.5}


def test_an_answer_is_marked_where_it_stands(tokenizer):
    text = [ids(tokenizer, "in Paris film")]
    targets = {"labels": torch.tensor([[2, 3]]), "may_answer": torch.ones(1, 5, dtype=torch.bool)}
    (sequence,) = seen(task_of(AutoModelForQuestionAnswering, text, targets), tokenizer)["sequences"]
    assert sequence["places"] == {"answer": [None, None, "answer", "answer", None]}
    nothing = task_of(AutoModelForQuestionAnswering, text, {"labels": torch.tensor([[IGNORE, IGNORE]])})
    assert set(seen(nothing, tokenizer)["sequences"][0]["places"]["answer"]) == {None}


def test_what_is_to_be_written_is_shown_as_tokens(tokenizer):
    text, target = ids(tokenizer, "film good"), ids(tokenizer, "bad plot")
    found = seen(task_of(AutoModelForSeq2SeqLM, [text], {"labels": torch.tensor([[*target, IGNORE]])}), tokenizer)
    assert found["targets"]["labels"] == ["[CLS]", "bad", "plot", "[SEP]"]
    assert found["sequences"][0]["places"] == {}
    shifted = task_of(AutoModelForCausalLM, [text], {"labels": torch.tensor([[IGNORE, *text[2:], IGNORE]])})
    assert seen(shifted, tokenizer)["sequences"][0]["places"]["labels"] == [None, "good", "[SEP]", None]


def test_bytes_are_shown_as_the_characters_they_are():
    core = Tokenizer(models.BPE({"Ġ": 0, "f": 1, "æ": 2, "Ľ": 3, "Ġf": 4, "<0x1b>": 5}, [("Ġ", "f")]))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="Ġ")
    task = task_of(AutoModelForCausalLM, [[4, 2, 1]], {})
    assert seen(task, tokenizer)["sequences"][0]["pieces"] == ["▁f", "æ", "f"]


BY_TASK = [
    ({"premise": "film", "hypothesis": "plot", "label": "x"}, "classify", ["film", "[SEP]", "plot"], "x"),
    ({"text": "film", "labels": ["x", "y"]}, "multilabel", ["film"], ["x", "y"]),
    ({"text": "film", "score": 2.5}, "score", ["film"], 0.0),
    ({"text": "film", "choices": ["good", "bad"], "label": 1}, "choose", ["film", "[SEP]", "good"], 1),
]


@pytest.mark.parametrize(("row", "kind", "pieces", "target"), BY_TASK, ids=[kind for _, kind, _, _ in BY_TASK])
def test_rows_of_other_tasks_are_seen_as_they_are_learnt(tmp_path, base, row, kind, pieces, target):
    other = {"x": "y"}.get(row.get("label"), row.get("label"))
    told = check(tmp_path, [row, row | ({"label": other} if "label" in row else {})], base=str(base))
    (part,) = told.values["examples"][0]["parts"]
    assert told.values["task"]["kind"] == kind
    assert part["sequences"][0]["pieces"] == ["[CLS]", *pieces, "[SEP]"]
    assert part["targets"]["labels"] == target


def test_each_target_of_a_source_is_a_part(tmp_path, tokenizer):
    config = BartConfig(
        vocab_size=len(tokenizer), d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=1,
        decoder_attention_heads=1, encoder_ffn_dim=8, decoder_ffn_dim=8, max_position_embeddings=32,
    )  # fmt: skip
    config.save_pretrained(tmp_path / "bart")
    tokenizer.save_pretrained(tmp_path / "bart")
    (tmp_path / "bart" / "model.safetensors").write_bytes(b"never opened")
    row = {"source": "good film", "target": ["great film", "great plot"]}
    told = check(tmp_path, [row], base=str(tmp_path / "bart"))
    parts = told.values["examples"][0]["parts"]
    assert [part["targets"]["labels"][1:3] for part in parts] == [["great", "film"], ["great", "plot"]]
    assert parts[0]["sequences"][0]["pieces"] == ["[CLS]", "good", "film", "[SEP]"]


def test_a_task_for_which_the_rows_are_not_meant_says_so(tmp_path):
    rows = [{"tokens": ["in", "Paris"], "tags": ["O", "B-LOC"], "intent": "go"}]
    told = check(tmp_path, rows, task="tag")
    assert told.values["suspicions"][0]["kind"] == "kind"
    assert "the columns are those of the kind INTENT_SLOTS" in told.text
    assert "task.kind=tag leaves a part of them out" in told.text
    assert "kind" not in {one["kind"] for one in check(tmp_path, rows).values["suspicions"]}


def test_a_task_refuses_what_it_cannot_learn_from(tmp_path):
    with pytest.raises(LatheError, match="nothing to tell apart"):
        check(tmp_path, [{"text": "a", "label": "x"}, {"text": "b", "label": "x"}], task="classify")
    with pytest.raises(LatheError, match=r"rows.jsonl:1: label 'z' is not one of x, y"):
        check(tmp_path, [{"text": "a", "label": "z"}], task={"kind": "classify", "labels": ["x", "y"]})
    with pytest.raises(LatheError, match="no task learns from rows of the kind TEXT"):
        check(tmp_path, [{"text": "a"}], base="nowhere")
