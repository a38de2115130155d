"""What a language model answers by itself: fillings of masks, and how likely a text is."""

import json
import math

import pytest
import torch
from starlette.testclient import TestClient
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedTokenizerFast

from lathe import load
from lathe.cli import main
from lathe.core.bundle import Manifest, seal
from lathe.core.errors import BundleError, DataError
from lathe.likelihood import open_language_model
from lathe.likelihood.fill import _text
from lathe.models.pretrained import new_model, save_model
from lathe.serve.app import build_app
from lathe.serve.schema import Answer
from lathe.serve.served import Models, Served


def bundle(folder, auto_model, config, tokenizer):
    runtime = save_model(new_model(auto_model, config, seed=3), tokenizer, folder)
    seal(folder, Manifest(kind="model", stage="pretrain", runtime=runtime, preprocessing={"max_length": 32}))
    return folder


@pytest.fixture
def masked(tmp_path, tokenizer, bert_config):
    return bundle(tmp_path / "masked", AutoModelForMaskedLM, bert_config, tokenizer)


@pytest.fixture
def causal(tmp_path, tokenizer, gpt2_config):
    return bundle(tmp_path / "causal", AutoModelForCausalLM, gpt2_config, tokenizer)


def by_hand(folder, tokenizer, text):
    """Probabilities of the vocabulary at each mask, by transformers alone.  [masks, V]"""
    inputs = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        logits = AutoModelForMaskedLM.from_pretrained(folder).eval()(**inputs).logits[0]
    return logits[inputs["input_ids"][0] == tokenizer.mask_token_id].softmax(-1)


TEXTS = ["the [MASK] is good", "[MASK] [MASK]北[MASK]", "很[MASK]"]


def test_fillings_are_the_most_likely_pieces_of_each_mask_whatever_stands_beside_the_row(masked, tokenizer):
    answers = load(masked)(TEXTS)
    for text, answer in zip(TEXTS, answers, strict=True):
        assert len(answer.fillings) == text.count("[MASK]")
        for found, expected in zip(answer.fillings, by_hand(masked, tokenizer, text), strict=True):
            expected[tokenizer.all_special_ids] = 0
            values, ids = expected.topk(5)
            assert [one.text for one in found] == tokenizer.convert_ids_to_tokens(ids)
            assert [one.score for one in found] == pytest.approx(values.tolist(), rel=1e-4)


def test_of_a_long_text_each_mask_is_read_with_what_stands_around_it(masked, tokenizer):
    """32 tokens with the frame: 30 around each mask, but no more than there are behind the last."""
    words = ["the", "film", "is", "good"] * 25
    for place in (0, 50, 99):
        words[place] = "[MASK]"
    (answer,) = load(masked)([" ".join(words)])
    around = [words[:30], words[35:65], words[70:]]
    assert len(answer.fillings) == 3
    for found, part in zip(answer.fillings, around, strict=True):
        expected = by_hand(masked, tokenizer, " ".join(part))[0]
        assert found[0].score == pytest.approx(float(expected[5:].max()), rel=1e-4)


def test_masks_near_each_other_in_a_long_text_are_told_apart(masked, tokenizer):
    text = " ".join(["good"] * 40 + ["[MASK]", "film", "[MASK]"] + ["bad"] * 40)
    (answer,) = load(masked)([text])
    for number, start in ((0, 25), (1, 27)):
        expected = by_hand(masked, tokenizer, " ".join(text.split()[start : start + 30]))[number]
        assert answer.fillings[number][0].score == pytest.approx(float(expected[5:].max()), rel=1e-4)


def test_a_part_of_a_character_is_told_as_the_vocabulary_has_it():
    core = Tokenizer(models.BPE({"å": 0, "¥": 1, "½": 2, "好": 3, "Ġa": 4}, []))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    words = PreTrainedTokenizerFast(tokenizer_object=core)
    assert [_text(token, words) for token in (0, 4)] == ["å", " a"]


def test_a_text_without_a_mask_is_refused_by_its_row(masked):
    with pytest.raises(DataError, match=r"row 1: text: holds no \[MASK\]; write \[MASK\] where something is to be"):
        load(masked)(["a [MASK]", "no mask"])
    with pytest.raises(DataError, match=r"row 0: text: holds \[SEP\], a special token of this model"):
        load(masked)(["a [MASK] [SEP]"])


def test_how_likely_a_text_is_is_what_perplexity_says(causal):
    texts = ["the film is good", "很好", " ".join(["a", "bad", "plot"] * 40)]  # the last one in windows
    answers = load(causal)(texts)
    for text, answer, found in zip(texts, answers, open_language_model(causal).score(texts), strict=True):
        assert answer.log_prob == pytest.approx(found.log_probs.sum())
        assert answer.units == len(found.log_probs)
        assert answer.perplexity == pytest.approx(math.exp(-answer.log_prob / answer.units))
        assert answer.bits_per_byte == pytest.approx(-answer.log_prob / math.log(2) / len(text.encode()))


def test_a_file_is_answered_and_rows_without_a_mask_are_set_aside(masked, tmp_path, capsys):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in enumerate([*TEXTS, "none"])), "utf-8")
    assert main(["predict", str(masked), str(rows), "top_k=2", "-o", str(tmp_path / "out.jsonl")]) == 0
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert [row["id"] for row in found] == [0, 1, 2]
    assert [[len(mask) for mask in row["prediction"]["fillings"]] for row in found] == [[2], [2, 2, 2], [2]]
    said = capsys.readouterr()
    assert "1 could not be read" in said.out + said.err


def test_top_k_is_refused_where_nothing_is_filled(causal, tmp_path, capsys):
    (tmp_path / "rows.jsonl").write_text('{"text": "a film"}\n', "utf-8")
    assert main(["predict", str(causal), str(tmp_path / "rows.jsonl"), "top_k=2"]) == 2
    assert "fills no masks, it answers by likelihood" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["masked", "causal"])
def test_both_answer_over_http_as_in_python(kind, request):
    folder = request.getfixturevalue(kind)
    model = load(folder)
    with TestClient(build_app(Models([Served("demo", "1", model)])), "http://localhost") as client:
        reply = client.post("/predict", json={"rows": TEXTS[:1]})
        refused = client.post("/predict", json={"rows": [{"text": "a", "text_pair": "b"}]})
    Answer.model_validate(reply.json())
    assert reply.json()["predictions"] == [one.to_json() for one in model(TEXTS[:1])]
    assert refused.status_code == 422


def test_a_tokenizer_without_a_mask_has_nothing_to_fill(tmp_path, tokenizer, bert_config):
    tokenizer.mask_token = None
    folder = bundle(tmp_path / "none", AutoModelForMaskedLM, bert_config, tokenizer)
    with pytest.raises(BundleError, match="has no mask token"):
        load(folder)
