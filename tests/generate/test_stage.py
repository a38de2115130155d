"""Generation as a user asks for it: at the terminal, and for a file of prompts."""

import json

import pytest
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    BartConfig,
    LlamaConfig,
    T5Config,
)

import lathe
from lathe.cli import main
from lathe.core.bundle import Manifest, seal
from lathe.core.errors import BundleError, DataError
from lathe.generate import Recipe, run
from lathe.generation import Beam, Generation, Sample
from lathe.models.pretrained import new_model, save_model
from lathe.models.transformer import EncoderDecoderConfig


def bundle(folder, auto_model, config, tokenizer):
    config.initializer_range = 0.4
    runtime = save_model(new_model(auto_model, config, seed=0), tokenizer, folder)
    seal(folder, Manifest(kind="model", stage="pretrain", runtime=runtime))
    return folder


@pytest.fixture
def writer(tmp_path, tokenizer, gpt2_config):
    return bundle(tmp_path / "writer", AutoModelForCausalLM, gpt2_config, tokenizer)


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def answers(writer, prompts, **options):
    return [answer._asdict() for answer in lathe.load_generator(writer)(prompts, Generation(**options))]


def test_a_prompt_is_answered_on_standard_output(writer, capsys):
    (wanted,) = answers(writer, ["the film"], max_new_tokens=6)
    assert main(["generate", str(writer), "the film", "max_new_tokens=6"]) == 0
    assert capsys.readouterr().out == wanted["text"] + "\n"


@pytest.mark.parametrize("decoding", [Sample(seed=3), Beam(num_beams=2)])
def test_the_last_line_is_json_where_it_is_asked_for(writer, capsys, decoding):
    (wanted,) = answers(writer, ["影片"], decoding=decoding, max_new_tokens=6)
    more = ["decoding.seed=3"] if decoding.kind == "sample" else ["decoding.num_beams=2"]
    call = ["generate", str(writer), "影片", f"decoding.kind={decoding.kind}", *more, "max_new_tokens=6", "--json"]
    assert main(call) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {name: told[name] for name in wanted} == wanted


def test_every_row_of_a_file_gets_its_answer_in_order(writer, tmp_path):
    rows = [{"id": i, "prompt": "the film " * (i % 3 + 1)} for i in range(5)]
    data = write(tmp_path / "rows.jsonl", rows)
    told = run(Recipe(bundle=writer, prompt=str(data), max_new_tokens=5, batch_size=2), tmp_path / "out.jsonl")
    found = lines(tmp_path / "out.jsonl")
    assert [{"id": row["id"], "prompt": row["prompt"]} for row in found] == rows
    assert [row["generated"] for row in found] == answers(writer, [row["prompt"] for row in rows], max_new_tokens=5)
    assert told.values["rows"] == 5
    assert sum(told.values["ends"].values()) == 5


def test_rows_that_cannot_be_answered_are_quarantined(writer, tmp_path):
    data = write(tmp_path / "rows.jsonl", [{"text": "film"}, {"text": "film " * 40}, {"text": 3}])
    told = run(Recipe(bundle=writer, prompt=str(data), max_new_tokens=2), tmp_path / "out.jsonl")
    assert [row["text"] for row in lines(tmp_path / "out.jsonl")] == ["film"]
    bad = lines(tmp_path / "out.jsonl.quarantine.jsonl")
    assert sorted(row["line"] for row in bad) == [2, 3]
    assert any("has 41 tokens, and the model takes 32" in row["reason"] for row in bad)
    assert told.values["quarantined"] == 2


def test_a_prompt_goes_to_a_file_as_a_row(writer, tmp_path):
    run(Recipe(bundle=writer, prompt="the film", max_new_tokens=4), tmp_path / "out.jsonl")
    (row,) = lines(tmp_path / "out.jsonl")
    assert row == {"text": "the film", "generated": answers(writer, ["the film"], max_new_tokens=4)[0]}


def llama(vocabulary):
    return LlamaConfig(vocab_size=vocabulary, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
                       num_attention_heads=2, max_position_embeddings=32, pad_token_id=0, eos_token_id=3)  # fmt: skip


def t5(vocabulary):
    return T5Config(vocab_size=vocabulary, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2, pad_token_id=0,
                    decoder_start_token_id=0, eos_token_id=3)  # fmt: skip


def bart(vocabulary):
    return BartConfig(vocab_size=vocabulary, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
                      decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=24, max_position_embeddings=32,
                      pad_token_id=0, bos_token_id=2, eos_token_id=3, decoder_start_token_id=3)  # fmt: skip


def ours(vocabulary):
    return EncoderDecoderConfig(vocab_size=vocabulary, hidden_size=16, num_hidden_layers=1, num_decoder_layers=1,
                                num_attention_heads=2, intermediate_size=24, decoder_start_token_id=2,
                                eos_token_id=3)  # fmt: skip


@pytest.mark.parametrize("shape", [llama, t5, bart, ours], ids=lambda shape: shape.__name__)
def test_a_model_of_transformers_writes_once_it_is_adopted(shape, tmp_path, tokenizer):
    config = shape(len(tokenizer))
    auto_model = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    new_model(auto_model, config, seed=0).save_pretrained(tmp_path / "theirs")
    tokenizer.save_pretrained(tmp_path / "theirs")
    assert main(["adopt", str(tmp_path / "theirs"), "-o", str(tmp_path / "writer")]) == 0
    options = {"max_new_tokens": 5, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "stop": ("坏",)}
    for decoding in (Sample(), Beam(num_beams=2)):
        prompts = ["the film", "影片很好 in Paris"]
        together = answers(tmp_path / "writer", prompts, decoding=decoding, **options)
        alone = [answers(tmp_path / "writer", [prompt], decoding=decoding, **options)[0] for prompt in prompts]
        assert together == alone


def test_a_file_that_is_not_there_is_not_taken_for_a_prompt(writer, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        run(Recipe(bundle=writer, prompt=str(tmp_path / "prompts.jsonl")))


def test_an_encoder_cannot_generate(tmp_path, tokenizer, bert_config):
    folder = bundle(tmp_path / "encoder", AutoModelForMaskedLM, bert_config, tokenizer)
    with pytest.raises(BundleError, match=r"cannot generate; it fills gaps.*objective\.kind=causal"):
        run(Recipe(bundle=folder, prompt="the film"))


def test_a_classifier_cannot_generate(classifier):
    with pytest.raises(BundleError, match="cannot generate; it has learnt to classify: use `lathe predict`"):
        run(Recipe(bundle=classifier, prompt="the film"))


def test_a_model_that_writes_weighs_texts_where_it_is_loaded_to_predict(writer):
    (weighed,) = lathe.load(writer)(["the film"])
    assert weighed.log_prob < 0
