"""What is measured as important, what is taken out, and that the rest is a model like any other."""

import subprocess
import sys

import pytest
import torch

import lathe
from lathe.compress import Recipe, distill, run
from lathe.compress.importance import Fisher, Magnitude, Random, Taylor
from lathe.compress.prune import Prune, chosen
from lathe.core.bundle import Bundle
from lathe.core.errors import RecipeError
from lathe.core.keyed import row_keys
from lathe.core.recipe import parse
from lathe.core.types import Symbols
from lathe.core.work import read_log
from lathe.models.pretrained import new_model, open_config, open_model
from lathe.models.shapes import layers_of
from lathe.tasks.examples import Examples

LEARN = {"max_steps": 4, "batch_size": 8, "learning_rate": 3e-3, "precision": "fp32"}
GIVEN = {"kind": "distill", "student": {"kind": "given"}, "train": LEARN}
EVERYTHING = {"kind": "prune", "heads": 1.0, "neurons": 1.0}


@pytest.fixture
def splits(classify, tokenizer, rows):
    encoded = classify.encode(rows[:6], tokenizer)
    examples = Examples(rows[:6], encoded, row_keys("rows", 6))
    return {"train": examples, "validation": examples}


@pytest.fixture
def model(classify, bert_config):
    made = new_model(classify.auto_model, bert_config, seed=1).double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(5 if parameter.ndim == 2 else 1)
    return made


def losses(model, classify, splits, symbols):
    """Of each row by itself."""
    source = splits["train"].source
    batches = [classify.collate([row], source.keys[:1], symbols) for row in source.rows]
    with torch.no_grad():
        return torch.stack([classify.loss(model, batch)[0].total for batch in batches])


def by_difference(model, linear, columns, classify, splits, symbols, step=1e-5):
    """∂L(x)/∂ξ of each row, ξ times some inputs of a linear layer: the same as ξ times these columns."""
    found = []
    for sign in (1, -1):
        with torch.no_grad():
            linear.weight[:, columns] *= 1 + sign * step
            found.append(losses(model, classify, splits, symbols))
            linear.weight[:, columns] /= 1 + sign * step
    return (found[0] - found[1]) / (2 * step)


@pytest.mark.parametrize(("importance", "size"), [(Taylor(), torch.abs), (Fisher(), torch.square)])
def test_importance_by_gradients_is_what_a_mask_would_change(model, classify, splits, tokenizer, importance, size):
    symbols = Symbols.of(tokenizer)
    found = importance(model, splits, classify, symbols)
    for number, layer in enumerate(layers_of(model)):
        context, outer = layer.linear(layer.family.context), layer.linear(layer.family.outer)
        heads = [by_difference(model, context, [*range(8 * h, 8 * h + 8)], classify, splits, symbols) for h in range(2)]
        expected = torch.stack([size(x).mean() for x in heads])
        torch.testing.assert_close(found.heads[number].double(), expected, rtol=1e-4, atol=1e-7)
        neurons = [by_difference(model, outer, [n], classify, splits, symbols) for n in range(5)]
        expected = torch.stack([size(x).mean() for x in neurons])
        torch.testing.assert_close(found.neurons[number][:5].double(), expected, rtol=1e-4, atol=1e-7)


def test_a_layer_is_as_important_as_what_it_adds(model, classify, splits, tokenizer):
    symbols, step = Symbols.of(tokenizer), 1e-5
    found = Taylor()(model, splits, classify, symbols)
    for number, layer in enumerate(layers_of(model)):
        changed = []
        for sign in (1, -1):
            hook = layer.module.register_forward_hook(
                lambda _, args, out, by=sign * step: out + by * (out - args[0])  # noqa: B023
            )
            changed.append(losses(model, classify, splits, symbols))
            hook.remove()
        expected = ((changed[0] - changed[1]) / (2 * step)).abs().mean()
        torch.testing.assert_close(found.layers[number].double(), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("importance", [Taylor(), Fisher(), Magnitude()])
def test_what_adds_nothing_goes_first(model, classify, splits, tokenizer, importance):
    first, last = layers_of(model)
    with torch.no_grad():
        for layer, head in ((first, 0), (last, 1)):
            part = slice(8 * head, 8 * head + 8)
            layer.linear(layer.family.context).weight[:, part] = 0
            layer.linear(layer.family.outer).weight[:, ::2] = 0
            for linear in layer.projections:
                linear.weight[part] = 0
            layer.inner[0].weight[::2] = 0
    before = losses(model, classify, splits, Symbols.of(tokenizer))
    step = Prune(heads=0.5, neurons=0.5, importance=importance)
    kept = step.cut(model, importance(model, splits, classify, Symbols.of(tokenizer)))
    assert kept == [0, 1]
    assert [(layer.heads, layer.neurons) for layer in layers_of(model)] == [(1, 16), (1, 16)]
    torch.testing.assert_close(losses(model, classify, splits, Symbols.of(tokenizer)), before)


def test_the_control_is_drawn_by_its_seed(model, classify, splits, tokenizer):
    first, again, other = (Random(seed=seed)(model, splits, classify, Symbols.of(tokenizer)) for seed in (1, 1, 2))
    assert torch.equal(first.neurons[0], again.neurons[0])
    assert not torch.equal(first.neurons[0], other.neurons[0])


def test_units_compete_in_the_model_or_in_their_layer():
    scores = [torch.arange(64.0), 100 + torch.arange(64.0)]
    assert [len(layer) for layer in chosen(scores, 0.5, "layer", 16)] == [32, 32]
    assert [len(layer) for layer in chosen(scores, 0.5, "model", 16)] == [16, 48]  # something stays in each
    assert chosen(scores, 0.5, "layer", 16)[0] == [*range(32, 64)]
    assert chosen(scores, 1.0, "model", 16) == [[*range(64)]] * 2
    assert chosen([torch.arange(20.0)], 1.0, "layer", 16) == [[*range(20)]]


def test_everything_kept_is_the_model_that_was_given(recipe, teacher, rows, tmp_path):
    run(recipe(EVERYTHING), tmp_path / "out")
    texts = [row["text"] for row in rows]
    assert lathe.load(tmp_path / "out")(texts) == lathe.load(teacher)(texts)


@pytest.mark.parametrize("importance", ["taylor", "fisher", "magnitude", "random"])
def test_a_pruned_model_is_smaller_and_measured(recipe, tmp_path, importance):
    bundle = run(recipe({"kind": "prune", "importance": importance}), tmp_path / "out")
    figures = bundle.manifest.scores["models"]
    assert figures["prune"]["size_bytes"] < figures["teacher"]["size_bytes"]
    assert [figures["prune"][name] for name in ("layers", "heads", "neurons")] == [[1, 2], [1, 1], [16, 16]]


def test_a_pruned_model_answers_the_same_in_a_new_process(recipe, tmp_path):
    bundle = run(recipe("prune"), tmp_path / "out")
    code = f"import lathe; print(repr(lathe.load({str(bundle.path)!r})(['good film'])[0].scores['pos']))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(there) == lathe.load(bundle.path)(["good film"])[0].scores["pos"]


def test_whole_layers_go(recipe, tmp_path):
    bundle = run(recipe(EVERYTHING | {"layers": 0.5}), tmp_path / "out")
    assert open_config(bundle.path).num_hidden_layers == 1


def test_a_pruned_model_is_healed_by_the_first_one_and_exported(recipe, tmp_path):
    bundle = run(recipe("prune", GIVEN | {"train": LEARN | {"max_steps": 30}, "alpha": 1.0}, "int8"), tmp_path / "out")
    figures = bundle.manifest.scores["models"]
    assert list(figures) == ["teacher", "prune", "distill", "int8"]
    sizes = [figures[name]["size_bytes"] for name in figures]
    assert sizes[0] > sizes[1] == sizes[2]
    losses = [line["loss"] for line in read_log(bundle.path) if line["event"] == "step"]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert lathe.load(bundle.path)(["good film"])[0].label in ("neg", "pos")


def test_the_teacher_is_the_model_before_all_steps(recipe, teacher, monkeypatch, tmp_path):
    asked = []

    def soft_targets(forward, *others):
        asked.append(forward)
        return real(forward, *others)

    real = distill.soft_targets
    monkeypatch.setattr(distill, "soft_targets", soft_targets)
    run(recipe("prune", GIVEN), tmp_path / "out")
    rows = torch.tensor([[2, 5, 9, 3]])
    inputs = {"input_ids": rows, "attention_mask": torch.ones_like(rows)}
    model = open_model(lathe.load(teacher).task.auto_model, teacher).model.eval()
    torch.testing.assert_close(asked[0](inputs)["logits"], model(**inputs).logits)


def test_layers_of_a_pruned_model_make_a_student_with_their_sizes(recipe, tmp_path):
    bundle = run(recipe("prune", GIVEN | {"student": {"kind": "layers", "layers": 1}}), tmp_path / "out")
    assert Bundle.open(bundle.path).size_bytes < bundle.manifest.scores["models"]["prune"]["size_bytes"]
    with pytest.raises(RecipeError, match=r"student.layers: 2 is more than the step before has left \(1\)"):
        run(recipe({"kind": "prune", "layers": 0.5}, GIVEN | {"student": {"layers": 2}}), tmp_path / "other")


def test_a_pruned_model_can_be_pruned_again(recipe, tmp_path):
    run(recipe({"kind": "prune", "neurons": 1.0}), tmp_path / "out")
    again = run(recipe({"kind": "prune", "heads": 1.0}, base=tmp_path / "out"), tmp_path / "again")
    assert again.manifest.scores["models"]["prune"]["heads"] == [1, 1]


def test_unlabelled_rows_cannot_be_asked(recipe, write, rows, tmp_path):
    texts = {"train": write("texts.jsonl", [{"text": row["text"]} for row in rows])}
    with pytest.raises(RecipeError, match=r"taylor asks labelled rows of data.train.*importance=magnitude"):
        run(recipe("prune", data=texts), tmp_path / "out")
    run(recipe({"kind": "prune", "importance": "magnitude"}, data={"train": None}), tmp_path / "out")


def test_a_tagger_is_pruned_too(make_teacher, tag, write, tmp_path):
    tagged = [{"tokens": ["a", word, "in", "Paris"], "tags": ["O", "O", "O", "B-LOC"]} for word in ("film", "plot") * 4]
    data = {"train": write("tags.jsonl", tagged), "validation": write("held.jsonl", tagged[:2])}
    recipe = parse(Recipe, {"base": make_teacher(tag, "tagger"), "data": data, "steps": ["prune"]})
    assert "entity_f1" in run(recipe, tmp_path / "out").manifest.scores["validation"]
