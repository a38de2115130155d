"""Ways of adapting: what is trained and what is not, and that the result is a standard model that answers the same."""

import json
import sys
from importlib.util import find_spec

import pytest
import torch
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    ModernBertConfig,
    XLNetConfig,
)

from lathe import load
from lathe.core import fit
from lathe.core.digest import file_digest
from lathe.core.dry import rehearse
from lathe.core.errors import LatheError, RecipeError
from lathe.core.layers import places, rate_factors
from lathe.core.optim import SGD, AdamW, Muon, at_rates, update
from lathe.core.ready import Steps
from lathe.core.recipe import parse
from lathe.core.work import Work
from lathe.finetune import Recipe, adapt, run
from lathe.finetune.adapt import IA3, BitFit, Freeze, Lora
from lathe.finetune.stage import prepare
from lathe.models.pretrained import Opened, absent, head_modules, new_model, open_model, save_model

needs_peft = pytest.mark.skipif(find_spec("peft") is None, reason="needs peft")
PLAIN = [{"kind": "full"}, {"kind": "freeze", "layers": 1}, {"kind": "bitfit"}]
ADAPTERS = [pytest.param({"kind": kind}, id=kind, marks=needs_peft) for kind in ("lora", "ia3")]
WAYS = [*[pytest.param(way, id=way["kind"]) for way in PLAIN], *ADAPTERS]
ROWS = [("good film", "pos"), ("great plot", "pos"), ("bad film", "neg"), ("awful plot", "neg")]
CLASSIFY = [{"text": f"{text} {'the ' * n}", "label": label} for n in range(6) for text, label in ROWS]
PLACE = [{"start": 3, "end": 8, "label": "LOC"}]
TAG = [{"text": f"in Paris {text}", "spans": PLACE} for text, _ in ROWS] * 4
CHOOSE = [{"text": text, "choices": ["good", "bad"], "label": int(label == "neg")} for text, label in ROWS] * 4
TASKS = {"classify": CLASSIFY, "tag": TAG, "choose": CHOOSE}
INPUTS = {
    "input_ids": torch.tensor([[2, 5, 6, 7, 3], [2, 8, 3, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
}


@pytest.fixture
def recipe(tmp_path, tokenizer, bert_config):
    """A recipe over a base that has no head and no pooler."""
    bert_config.hidden_dropout_prob = bert_config.attention_probs_dropout_prob = 0.1
    save_model(new_model(AutoModelForMaskedLM, bert_config, seed=0), tokenizer, tmp_path / "base")

    def make(way, task="classify", **options):
        rows = tmp_path / "rows.jsonl"
        rows.write_text("".join(json.dumps(row) + "\n" for row in TASKS[task]), "utf-8")
        train = {"max_steps": 6, "batch_size": 8, "learning_rate": 0.02, "precision": "fp32", "eval_steps": 3}
        values = {"base": tmp_path / "base", "data": {"train": rows, "validation": rows}, "task": {"kind": task}}
        return parse(Recipe, values | {"adapt": way, "train": train | options})

    return make


def opened(auto_model, config, new=()):
    return Opened(new_model(auto_model, config, seed=0).eval(), new, ())


def learnt(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("way", WAYS)
def test_the_bundle_is_a_standard_model_that_answers_as_the_trained_one(way, task, recipe, tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(adapt.Adapted, "merged", remembering(adapt.Adapted.merged, trained))
    bundle = run(recipe(way, task), tmp_path / "out")
    before, after = trained[-1]
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
    model = load(bundle.path)
    rows = [{name: value for name, value in row.items() if name in ("text", "choices")} for row in TASKS[task]]
    again, info = model.task.auto_model.from_pretrained(bundle.path, output_loading_info=True)
    assert not any(info.values()), info
    assert [type(module).__module__.split(".")[0] for module in again.modules()].count("peft") == 0
    assert [answer.to_json() for answer in model(rows)] == [answer.to_json() for answer in load(bundle.path)(rows)]


def remembering(merged, found):
    """`Adapted.merged` that keeps what the model gave before and after."""

    def wrapped(self, inputs):
        fit.plain(self.model)
        with torch.no_grad():
            before = self.model.eval()(**inputs)[0]
            model = merged(self, inputs)
            found.append((before, model.eval()(**inputs)[0]))
        return model

    return wrapped


@pytest.mark.parametrize("way", WAYS)
def test_a_run_stopped_by_a_signal_goes_on_to_the_same_bits(way, recipe, tmp_path, stopped_after):
    whole = run(recipe(way, save_steps=2), tmp_path / "whole")
    with stopped_after(3):
        run(recipe(way, save_steps=2), tmp_path / "cut")
    cut = run(recipe(way, save_steps=2), tmp_path / "cut")
    assert file_digest(cut.path / "model.safetensors") == file_digest(whole.path / "model.safetensors")


@pytest.mark.parametrize("way", WAYS)
def test_what_is_frozen_keeps_its_bits_and_the_head_and_new_weights_are_trained(way, recipe):
    base = open_model(AutoModelForSequenceClassification, recipe(way).base, ("a", "b"))
    assert head_modules(base) == ["classifier", "bert.pooler.dense"]
    model = parse(adapt.AnyAdaptation, way)(base, seed=0).model
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    names = learnt(model)
    assert any("classifier" in name for name in names) and any("pooler.dense" in name for name in names)
    (rule,) = AdamW()(model)
    fit.quicken(model)
    model.train()(**INPUTS, labels=torch.tensor([0, 1])).loss.backward()
    update(rule, model, 0.1, 1.0)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved <= names
    assert {name.partition(".")[0] for name in moved} == {"bert", "classifier"}


@pytest.mark.parametrize("way", WAYS)
def test_packed_and_fused_gradients_are_those_of_plain_torch(way, bert_config):
    """At 32 wide the fused layers take their part where nothing is wrapped."""
    bert_config.hidden_size, bert_config.intermediate_size = 32, 64
    gradients = []
    for quick in (False, True):
        model = parse(adapt.AnyAdaptation, way)(opened(AutoModelForTokenClassification, bert_config), seed=0).model
        not_nothing(model)
        if quick:
            assert fit.quicken(model) is None
        out = model.train()(**INPUTS).logits[INPUTS["attention_mask"].bool()]
        (out * torch.arange(out.numel()).view_as(out)).sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    plain, quick = gradients
    assert plain.keys() == quick.keys() == learnt(model)
    largest = max(
        float(gradient.abs().max()) for gradient in plain.values()
    )  # that of a key's bias is 0 but for rounding
    for name in plain:
        torch.testing.assert_close(quick[name], plain[name], rtol=1e-4, atol=1e-5 * largest)


def not_nothing(model):
    """Adapters begin as nothing, and here as something."""
    drawn = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name or "ia3_l" in name:
            torch.nn.init.normal_(parameter.data, 1.0, 0.1, generator=drawn)


@pytest.mark.parametrize("way", WAYS)
def test_a_plan_knows_what_is_trained_and_the_run_says_it(way, recipe, tmp_path, capsys):
    config = recipe(way)
    run(config, tmp_path / "out")
    said = capsys.readouterr().err
    ready = prepare(config, Work(tmp_path, ()))
    needs = rehearse(ready, [Steps(ready).at(0)])
    expected = f"{needs.parameters:,} parameters"
    if way["kind"] != "full":
        assert needs.trainable < needs.parameters
        expected += f", {needs.trainable:,} of them trained"
    assert f"{expected}; new weights: bert.pooler.dense, classifier" in said
    model = ready.build()
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == needs.trainable


def test_the_weights_that_a_folder_has_not_are_known_by_their_names(recipe, tmp_path):
    recipe({"kind": "full"})
    found = open_model(AutoModelForSequenceClassification, tmp_path / "base", ("a", "b"))
    assert sorted(absent(found.model, tmp_path / "base")) == sorted(found.new)


def test_a_vocabulary_head_is_no_head_of_a_task(bert_config, gpt2_config):
    assert head_modules(opened(AutoModelForMaskedLM, bert_config)) == []
    assert head_modules(opened(AutoModelForSequenceClassification, gpt2_config)) == ["score"]


# ---- freezing


def test_freezing_takes_embeddings_and_layers_from_the_lowest(bert_config):
    model = Freeze(layers=1)(opened(AutoModelForSequenceClassification, bert_config), seed=0).model
    frozen = {name for name, _ in model.named_parameters()} - learnt(model)
    assert {name.partition(".0.")[0] for name in frozen if ".0." in name} == {"bert.encoder.layer"}
    assert all(name.startswith(("bert.embeddings.", "bert.encoder.layer.0.")) for name in frozen)
    only_layers = Freeze(embeddings=False, layers=2)(opened(AutoModelForSequenceClassification, bert_config), 0).model
    assert not any("layer" in name.split(".") for name in learnt(only_layers))
    assert "bert.embeddings.word_embeddings.weight" in learnt(only_layers)
    with pytest.raises(RecipeError, match=r"adapt\.layers: 3 are to be frozen, and the model has 2"):
        Freeze(layers=3)(opened(AutoModelForSequenceClassification, bert_config), 0)


def test_biases_alone_are_trained_and_models_without_are_refused(bert_config):
    model = BitFit()(opened(AutoModelForSequenceClassification, bert_config), 0).model
    assert all(name.endswith(".bias") or name.startswith("classifier") for name in learnt(model))
    modern = ModernBertConfig(
        vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, pad_token_id=0
    )
    with pytest.raises(RecipeError, match="'modernbert' have no biases; take lora"):
        BitFit()(opened(AutoModelForSequenceClassification, modern), 0)


# ---- layer-wise decay of the learning rate


def test_rates_fall_from_layer_to_layer(bert_config):
    model = new_model(AutoModelForSequenceClassification, bert_config, 0)
    factors = rate_factors(model, 0.5)
    by_name = {name: factors[parameter] for name, parameter in model.named_parameters()}
    assert by_name["classifier.weight"] == by_name["bert.pooler.dense.bias"] == 1
    assert by_name["bert.encoder.layer.1.output.dense.weight"] == 0.5
    assert by_name["bert.encoder.layer.0.attention.self.query.bias"] == 0.25
    assert by_name["bert.embeddings.LayerNorm.weight"] == by_name["bert.embeddings.word_embeddings.weight"] == 0.125


@pytest.mark.parametrize("rule", [SGD(), AdamW(weight_decay=0.0), Muon(weight_decay=0.0, rest=AdamW(weight_decay=0.0))])
def test_each_layer_moves_by_its_share(rule, bert_config):
    moved = []
    for decay in (1.0, 0.5):
        model = new_model(AutoModelForSequenceClassification, bert_config, 0)
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        optimizers = at_rates(rule(model), rate_factors(model, decay))
        model(input_ids=torch.tensor([[2, 5, 6, 3]]), labels=torch.tensor([1])).loss.backward()
        for optimizer in optimizers:
            update(optimizer, model, 0.01, 1.0)
        moved.append({name: p.detach() - before[name] for name, p in model.named_parameters()})
    factors = {name: rate_factors(model, 0.5)[p] for name, p in model.named_parameters()}
    for name, whole in moved[0].items():
        torch.testing.assert_close(moved[1][name], whole * factors[name], rtol=1e-3, atol=1e-6)


def test_a_model_whose_layers_cannot_be_told_apart_is_refused():
    config = XLNetConfig(d_model=16, n_layer=1, n_head=2, d_inner=32, vocab_size=64)
    with pytest.raises(RecipeError, match="'xlnet' have no list of layers"):
        places(new_model(AutoModelForSequenceClassification, config, 0))


def test_layer_decay_is_resumed_to_the_same_bits(recipe, tmp_path, stopped_after):
    options = {"layer_decay": 0.8, "save_steps": 2}
    whole = run(recipe({"kind": "full"}, **options), tmp_path / "whole")
    with stopped_after(3):
        run(recipe({"kind": "full"}, **options), tmp_path / "cut")
    cut = run(recipe({"kind": "full"}, **options), tmp_path / "cut")
    assert file_digest(cut.path / "model.safetensors") == file_digest(whole.path / "model.safetensors")


# ---- adapters


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.parametrize("way", ADAPTERS)
def test_peft_opens_the_kept_adapter_on_the_base_and_the_head_is_in_it(way, recipe, tmp_path, tokenizer):
    from peft import PeftModel

    bundle = run(recipe(way | {"keep_adapter": True}), tmp_path / "out")
    base = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base", num_labels=2)
    theirs = PeftModel.from_pretrained(base, bundle.path / "adapter").eval()
    ours = AutoModelForSequenceClassification.from_pretrained(bundle.path).eval()
    inputs = tokenizer(["good film", "awful"], padding=True, return_tensors="pt")
    torch.testing.assert_close(theirs(**inputs).logits, ours(**inputs).logits, rtol=1e-5, atol=1e-5)
    assert not [file for file in (bundle.path / "adapter").rglob("*") if file.suffix in (".bin", ".pt")]


@needs_peft
def test_a_merge_that_is_not_exact_is_an_error(bert_config):
    adapted = Lora()(opened(AutoModelForSequenceClassification, bert_config), 0)
    not_nothing(adapted.model)
    model = adapted.merged(INPUTS)
    assert model is not adapted.model
    layer = adapted.model.bert.encoder.layer[0].attention.self.query
    layer.scaling["default"] = float("nan")
    with pytest.raises(LatheError, match="merging the adapter changes outputs by nan"):
        adapted.merged(INPUTS)


@needs_peft
def test_a_module_that_is_not_there_is_refused_with_those_that_are(bert_config):
    way = Lora(target_modules=("query", "valeu"))
    with pytest.raises(RecipeError, match=r"target_modules: valeu: .* there are dense, key, query, value"):
        way(opened(AutoModelForSequenceClassification, bert_config), 0)


@needs_peft
def test_a_family_whose_keys_and_values_peft_does_not_know_is_refused(bert_config):
    bert_config.model_type = "lathe-encoder"
    with pytest.raises(RecipeError, match=r"target_modules: name some; there are dense, key, query, value"):
        IA3()(opened(AutoModelForSequenceClassification, bert_config), 0)


@needs_peft
def test_an_adapter_is_not_merged_into_a_quantized_base(recipe, tmp_path):
    config = recipe({"kind": "lora"})
    file = tmp_path / "base/config.json"
    shape = json.loads(file.read_text("utf-8")) | {"quantization_config": {"quant_method": "bitsandbytes"}}
    file.write_text(json.dumps(shape), "utf-8")
    with pytest.raises(RecipeError, match=r"base is quantized.*full precision"):
        run(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_new_model_has_nothing_to_keep(bert_config):
    with pytest.raises(RecipeError, match="adapt.kind=bitfit: a new model has nothing to keep"):
        adapt.check(BitFit(), bert_config, is_new=True)


def test_without_peft_adapters_say_what_to_install_before_anything_is_read(recipe, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(LatheError, match=r"adapters need peft: pip install 'lathe\[adapters\]'"):
        run(recipe({"kind": "lora"}), tmp_path / "out")
