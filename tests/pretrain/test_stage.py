"""Pretraining as a user starts it: from scratch, continued, and in two languages."""

import json

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from lathe.core.errors import BundleError, DataError, RecipeError
from lathe.core.recipe import merged, parse
from lathe.core.work import read_log
from lathe.models.pretrained import new_model, open_tokenizer, save_model
from lathe.pretrain import Recipe, run

SHAPES = {
    "masked": {"kind": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
    "causal": {"kind": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2},
    "denoising": {"kind": "bart", "d_model": 16, "encoder_layers": 1, "num_attention_heads": 2},
    "permutation": {"kind": "xlnet", "d_model": 16, "n_layer": 1, "n_head": 2},
    "prefix": {"kind": "llama", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
    "span_corruption": {"kind": "t5", "d_model": 16, "num_layers": 1, "num_heads": 2},
}


@pytest.fixture
def recipe(tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    texts = ["the film is good", "影片很好", "the plot is not bad", "a great film in Paris"] * 40
    (tmp_path / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    (tmp_path / "held.txt").write_text("\n".join(texts[:8]), encoding="utf-8")

    def make(**changes) -> Recipe:
        data = {"train": tmp_path / "texts.txt", "validation": tmp_path / "held.txt"}
        train = {"tokens_per_step": 128, "learning_rate": 0.02, "precision": "fp32", "epochs": 12}
        values = {"data": data, "tokenizer": tmp_path / "tokenizer", "max_length": 16, "train": train}
        return parse(Recipe, merged(values, changes))

    return make


OURS = {"kind": "transformer", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.mark.parametrize(
    ("kind", "shape", "auto_model"),
    [
        ("masked", SHAPES["masked"], AutoModelForMaskedLM),
        ("causal", SHAPES["causal"], AutoModelForCausalLM),
        ("denoising", SHAPES["denoising"], AutoModelForSeq2SeqLM),
        ("permutation", SHAPES["permutation"], AutoModelForCausalLM),
        ("prefix", SHAPES["prefix"], AutoModelForCausalLM),
        ("span_corruption", SHAPES["span_corruption"], AutoModelForSeq2SeqLM),
        ("masked", OURS, AutoModelForMaskedLM),
        ("causal", OURS | {"architecture": "decoder"}, AutoModelForCausalLM),
        ("prefix", OURS | {"architecture": "decoder"}, AutoModelForCausalLM),
        ("denoising", OURS | {"architecture": "encoder-decoder"}, AutoModelForSeq2SeqLM),
    ],
)
def test_a_new_model_learns_more_than_word_frequencies_and_opens_with_transformers(
    recipe, tmp_path, kind, shape, auto_model
):
    bundle = run(recipe(objective={"kind": kind}, model=shape), tmp_path / "out")
    scores = bundle.manifest.scores
    assert scores["validation_loss"] < scores["unigram_entropy"]
    model = auto_model.from_pretrained(bundle.path)
    assert model.config.vocab_size % 64 == 0


@pytest.mark.parametrize(("kind", "architecture"), [("masked", "decoder"), ("causal", "encoder")])
def test_a_transformer_of_another_architecture_is_refused_with_the_one_to_take(recipe, tmp_path, kind, architecture):
    fits = {"masked": "encoder", "causal": "decoder"}[kind]
    with pytest.raises(RecipeError, match=f"model.architecture={fits}"):
        run(recipe(objective={"kind": kind}, model=OURS | {"architecture": architecture}), tmp_path / "out")


def test_a_tokenizer_without_sentinels_gets_them_with_a_new_model_and_lacks_them_in_a_base(recipe, tmp_path, capsys):
    spans, steps = {"kind": "span_corruption", "extra_ids": 12}, {"max_steps": 1}
    run(recipe(objective=spans, model=SHAPES["span_corruption"], train=steps), tmp_path / "t5")
    assert "12 are added" in capsys.readouterr().err
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "t5")
    assert tokenizer.convert_tokens_to_ids("<extra_id_11>") == 36
    run(recipe(objective=spans, tokenizer=None, base=tmp_path / "t5", train=steps), tmp_path / "again")
    assert "sentinels" not in capsys.readouterr().err
    run(recipe(objective={"kind": "denoising"}, model=SHAPES["denoising"], train=steps), tmp_path / "bart")
    with pytest.raises(RecipeError, match="needs sentinels .* in the tokenizer of `base`, which has none"):
        run(recipe(objective=spans, tokenizer=None, base=tmp_path / "bart", train=steps), tmp_path / "out")
    assert not (tmp_path / "out.work").exists()


def test_a_continued_model_starts_where_the_first_one_ended(recipe, tmp_path):
    first = run(recipe(model=SHAPES["masked"]), tmp_path / "first")
    again = {"tokenizer": None, "base": tmp_path / "first", "train": {"max_steps": 1, "learning_rate": 1e-9}}
    second = run(recipe(**again), tmp_path / "second")
    assert second.manifest.scores["validation_loss"] == pytest.approx(
        first.manifest.scores["validation_loss"], abs=0.02
    )
    assert second.manifest.parents[0].sha256 == first.digest


def test_a_sample_uses_a_share_of_the_documents(recipe, tmp_path, capsys):
    data = recipe().data
    small = {"train": data.train, "validation": data.validation, "sample_ratio": 0.5}
    run(recipe(model=SHAPES["masked"], data=small, train={"max_steps": 1}), tmp_path / "out")
    rows = int(capsys.readouterr().err.split("parameters; ")[1].split(" rows")[0])
    assert 0 < rows < 160


def test_a_validation_file_is_what_is_measured_on(recipe, tmp_path):
    """Words that training never sees keep the loss that they have by chance."""
    (tmp_path / "held.txt").write_text("awful 北京 awful 北京\n" * 8, encoding="utf-8")
    scores = run(recipe(model=SHAPES["causal"], objective={"kind": "causal"}), tmp_path / "out").manifest.scores
    assert scores["validation_loss"] > scores["unigram_entropy"] + 0.5


@pytest.mark.parametrize("split", ["train", "validation"])
def test_text_without_a_word_is_refused(recipe, tmp_path, split):
    """Steps without end were sought in no rows, and the loss on none was 0."""
    (tmp_path / "blank.txt").write_text("\n \n", encoding="utf-8")
    data = {"train": tmp_path / "texts.txt"} | {split: tmp_path / "blank.txt"}
    with pytest.raises(DataError, match="blank.txt: holds no text"):
        run(recipe(model=SHAPES["masked"], data=data, train={"epochs": 1}), tmp_path / "out")


def test_less_text_than_one_step_takes_is_refused(recipe, tmp_path):
    with pytest.raises(RecipeError, match=r"texts.txt has 1,040 tokens, and one step takes 1,041: .*lower train"):
        run(recipe(model=SHAPES["masked"], train={"tokens_per_step": 1041}), tmp_path / "out")
    assert not (tmp_path / "out.work").exists()


def test_a_tokenizer_of_another_model_is_refused(recipe, tmp_path, bert_config, tokenizer):
    bert_config.vocab_size = len(tokenizer) - 1
    save_model(new_model(AutoModelForMaskedLM, bert_config, seed=0), tokenizer, tmp_path / "base")
    with pytest.raises(BundleError, match="ids up to 24, and the model has embeddings of 24 tokens only"):
        run(recipe(tokenizer=None, base=tmp_path / "base"), tmp_path / "out")


def test_replayed_text_is_forgotten_less(recipe, tmp_path):
    """Other words follow one another in the old text: its loss rises, and less where a part of it is learnt again."""
    old = ["bad plot in the film", "坏影片", "awful not great"] * 60
    (tmp_path / "old.txt").write_text("\n".join(old), encoding="utf-8")
    (tmp_path / "old-held.txt").write_text("\n".join(old[:12]), encoding="utf-8")
    shape = {"tokenizer": tmp_path / "tokenizer", "model": SHAPES["masked"], "train": {"epochs": 6}}
    run(recipe(data={"train": tmp_path / "old.txt", "validation": tmp_path / "old-held.txt"}, **shape), tmp_path / "a")
    told = {}
    for name, replay in (("alone", {}), ("replay", {"replay": tmp_path / "old.txt", "replay_ratio": 0.3})):
        data = {"old_validation": tmp_path / "old-held.txt"} | replay
        told[name] = run(recipe(tokenizer=None, base=tmp_path / "a", data=data), tmp_path / name).manifest.scores
    assert told["alone"]["old_loss_before"] == told["replay"]["old_loss_before"]
    assert told["alone"]["forgetting"] == told["alone"]["old_loss"] - told["alone"]["old_loss_before"]
    assert told["alone"]["forgetting"] > 1 + told["replay"]["forgetting"] > 1
    assert told["replay"]["validation_loss"] < told["replay"]["validation_loss_before"] - 0.5
    first = _evaluations(tmp_path / "replay")[0]
    assert first == (0, told["replay"]["validation_loss_before"], told["replay"]["old_loss_before"])


PHASES = [{"ratio": 0.25, "max_length": 8, "tokens_per_step": 32}, {"ratio": 0.25, "tokens_per_step": 64}]


def test_phases_make_short_rows_and_small_steps_first(recipe, tmp_path):
    bundle = run(recipe(model=SHAPES["masked"], train={"phases": PHASES, "epochs": 2}), tmp_path / "out")
    tokens = [line["tokens"] for line in read_log(bundle.path) if line["event"] == "step"]
    assert len(tokens) == bundle.manifest.scores["steps"]
    first, second = (next(i for i, n in enumerate(tokens) if n > most) for most in (32, 64))
    assert 0 < first < second < len(tokens)
    assert max(tokens[first:second]) <= 64
    assert sum(tokens) == pytest.approx(2 * 1040, rel=0.1)


@pytest.mark.parametrize("killed_after", [3, 20])
def test_a_run_with_phases_and_replay_resumes_bit_for_bit(recipe, tmp_path, stopped_after, killed_after):
    data = {"replay": tmp_path / "texts.txt", "old_validation": tmp_path / "held.txt"}
    run(recipe(model=SHAPES["masked"], train={"epochs": 1}), tmp_path / "base")
    continued = recipe(tokenizer=None, base=tmp_path / "base", data=data, train={"phases": PHASES, "max_steps": 30})
    run(continued, tmp_path / "unbroken")
    with stopped_after(killed_after):
        run(continued, tmp_path / "broken")
    run(continued, tmp_path / "broken")
    a, b = (AutoModelForMaskedLM.from_pretrained(tmp_path / name) for name in ("unbroken", "broken"))
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert _evaluations(tmp_path / "broken") == _evaluations(tmp_path / "unbroken")


@pytest.mark.parametrize(
    ("phases", "words"),
    [
        ([{"ratio": 0.6}, {"ratio": 0.5}], "add up to 1 or more"),
        ([{"ratio": 0.5, "tokens_per_step": 256}], "phases.0.tokens_per_step: 256 is more than"),
        ([{"ratio": 0.5, "max_length": 17}], "phases.0.max_length: 17 is more than"),
        ([{"ratio": 0.9, "tokens_per_step": 64}], "leave nothing of a run of 1 whole steps"),
    ],
)
def test_phases_that_are_no_beginning_are_refused(recipe, tmp_path, phases, words):
    with pytest.raises(RecipeError, match=words):
        run(recipe(model=SHAPES["masked"], train={"phases": phases, "max_steps": 1}), tmp_path / "out")


def test_a_tokenizer_or_a_base_is_needed(recipe, tmp_path):
    with pytest.raises(RecipeError, match="give `base`"):
        run(recipe(tokenizer=None), tmp_path / "out")


def test_a_continued_model_gets_another_tokenizer_and_forgets_little(recipe, tmp_path):
    """Words in another order, and a new one: what was learnt is there before the first step."""
    run(recipe(model=SHAPES["masked"]), tmp_path / "first")
    old = open_tokenizer(tmp_path / "tokenizer")
    words = old.convert_ids_to_tokens(range(len(old)))
    core = Tokenizer.from_file(str(tmp_path / "tokenizer" / "tokenizer.json"))
    core.model = models.WordLevel(
        {word: i for i, word in enumerate([*words[:5], *reversed(words[5:]), "new"])}, unk_token="[UNK]"
    )
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=core, **names).save_pretrained(tmp_path / "other")
    train = {"max_steps": 1, "learning_rate": 1e-9, "tokens_per_step": 128}
    again = recipe(base=tmp_path / "first", tokenizer=tmp_path / "other", train=train)
    second = run(again, tmp_path / "second")
    scores = second.manifest.scores
    assert scores["validation_loss"] < scores["unigram_entropy"]  # without one step of learning
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(second.path), open_tokenizer(second.path)
    assert len(tokenizer) == len(words) + 1
    assert model.config.pad_token_id == tokenizer.pad_token_id


def test_rows_longer_than_the_model_takes_are_refused(recipe, tmp_path):
    shape = SHAPES["masked"] | {"max_position_embeddings": 8}
    with pytest.raises(RecipeError, match="max_length: 16 is more than this model takes"):
        run(recipe(model=shape), tmp_path / "out")


def test_two_runs_are_equal_bit_for_bit(recipe, tmp_path):
    models = [AutoModelForMaskedLM.from_pretrained(run(recipe(model=SHAPES["masked"]), tmp_path / name).path)
              for name in ("a", "b")]  # fmt: skip
    assert all(torch.equal(a, b) for a, b in zip(*(m.parameters() for m in models), strict=True))


@pytest.mark.parametrize(
    ("kind", "shape", "why"),
    [
        ("masked", "causal", "masked does not fit a model of type 'gpt2'"),
        ("masked", "span_corruption", "masked does not fit a model of type 't5'"),
        ("causal", "masked", "causal needs a model that reads from left to right"),
        ("causal", "permutation", "causal needs a model that reads from left to right"),
        ("prefix", "masked", "prefix needs a model that reads from left to right"),
        ("permutation", "masked", "permutation needs a model with a second stream"),
        ("denoising", "causal", "denoising does not fit a model of type 'gpt2'"),
        ("span_corruption", "masked", "span_corruption does not fit a model of type 'bert'"),
    ],
)
def test_an_objective_that_does_not_fit_the_model_is_refused_before_the_text_is_read(
    recipe, tmp_path, kind, shape, why
):
    """A model that sees the token it should predict would learn to copy it, at a loss of nearly 0."""
    with pytest.raises(RecipeError, match=why):
        run(recipe(objective={"kind": kind}, model=SHAPES[shape]), tmp_path / "out")
    assert not list(tmp_path.glob("**/ids.bin"))


def _evaluations(folder):
    lines = [line for line in read_log(folder) if line["event"] == "evaluation"]
    return [(line["step"], line["loss"], line["old_loss"]) for line in lines]


JOINT = {
    "masked_nsp": ("bert", AutoModelForPreTraining, {"masked", "next"}),
    "masked_sop": ("albert", AutoModelForPreTraining, {"masked", "order"}),
    "replaced": ("electra", AutoModelForPreTraining, {"masked", "replaced"}),
    "simcse": ("bert", AutoModel, set()),
}


@pytest.mark.parametrize("kind", list(JOINT))
def test_each_part_of_a_joint_loss_is_told_and_the_model_opens_with_transformers(recipe, tmp_path, kind):
    """Only the loss of tokens is set beside the entropy of their frequencies."""
    model, auto_model, parts = JOINT[kind]
    texts = [f"{a}。{b}。 {a} {b}。" for a in ("the film is good", "影片很好") for b in ("the plot", "北京")] * 6
    (tmp_path / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    (tmp_path / "held.txt").write_text("\n".join(texts[:8]), encoding="utf-8")
    shape = SHAPES["masked"] | {"kind": model}
    changes = {"objective": {"kind": kind}, "model": shape, "max_length": 24}
    made = recipe(**changes, train={"tokens_per_step": 256, "max_steps": 3, "precision": "fp32"})
    bundle = run(made, tmp_path / "out")
    scores = bundle.manifest.scores
    assert {name for name in scores if name.endswith("_loss")} == {"validation_loss"} | {
        f"validation_{part}_loss" for part in parts
    }
    assert ("unigram_entropy" in scores) == (kind != "simcse")
    opened = auto_model.from_pretrained(bundle.path)
    assert type(opened).__name__ == json.loads((bundle.path / "config.json").read_text())["architectures"][0]
    assert "nats" in (bundle.path / "report.html").read_text()


def test_text_that_an_objective_cannot_learn_from_is_refused_with_the_way_out(recipe, tmp_path):
    shape = SHAPES["masked"]
    with pytest.raises(DataError, match=r"texts.txt: masked_nsp needs rows of two sentences.*objective.kind=masked"):
        run(recipe(objective={"kind": "masked_nsp"}, model=shape), tmp_path / "out")
