"""`lathe profile`: a few steps of a real run, counted and told, with nothing left behind."""

import json
from pathlib import Path

import pytest

from lathe.cli import main
from lathe.core import compilation, native
from lathe.core.profile import KINDS, kind_of
from lathe.models.pretrained import open_config

STEPS = ["warm_up=1", "steps=3", "profiled=2"]


@pytest.fixture
def recipe(tmp_path: Path, classifier: Path) -> Path:
    rows = [{"text": "a good film " * (n % 4 + 1), "label": ("good", "bad")[n % 2]} for n in range(64)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    toml = tmp_path / "recipe.toml"
    data = f'data = {{ train = "{tmp_path}/rows.jsonl" }}'
    task = 'task = { kind = "classify", max_length = 16 }'
    train = 'train = { epochs = 9, batch_size = 8, precision = "fp32" }'
    toml.write_text("\n".join(['verb = "finetune"', f'base = "{classifier}"', data, task, train]), encoding="utf-8")
    return toml


def test_a_profile_tells_rates_shares_and_the_fraction_of_the_peak(recipe, classifier, tmp_path, capsys):
    before = sorted(tmp_path.iterdir())
    assert main(["profile", str(recipe), *STEPS, "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(told["shares"]) <= {*KINDS, "bookkeeping", "Python and waiting"}
    assert 0.5 < sum(told["shares"].values()) < 1.5
    assert told["shares"]["matrix products"] > 0
    assert told["fraction_of_peak"] == pytest.approx(told["flops_per_second"] / told["peak_flops_per_second"])
    a_token = told["flops_per_second"] / told["tokens_per_second"]
    config = open_config(classifier)
    layer = 4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
    least = 6 * config.num_hidden_layers * layer  # forward and backward, without attention, pooler and fillers
    assert least < a_token < 4 * least
    assert sorted(tmp_path.iterdir()) == before


def test_compiled_layers_do_the_same_arithmetic_and_have_a_share_of_their_own(recipe, capsys, monkeypatch):
    monkeypatch.setattr(compilation, "BACKEND", "aot_eager")
    told = []
    for compiled in ("true", "false"):
        assert main(["profile", str(recipe), *STEPS, f"options.train.torch_compile={compiled}", "--json"]) == 0
        told.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    each = [one["flops_per_second"] / one["tokens_per_second"] for one in told]
    assert each[0] == pytest.approx(each[1])
    assert told[0]["shares"]["compiled layers"] > 0
    assert "compiled layers" not in told[1]["shares"]


def test_a_person_reads_a_table(recipe, capsys):
    assert main(["profile", str(recipe), *STEPS, "operations=20", "options.train.batch_size=4"]) == 0
    told = capsys.readouterr().out
    assert "rows/s" in told and "matrix products" in told and "aten::" in told


def test_what_is_computed_in_c_is_told_by_its_kind(recipe, capsys):
    options = ["options.train.precision=bf16", "options.train.batch_size=32"]
    assert main(["profile", str(recipe), *STEPS, *options, "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["flops_per_second"] > 0 and told["shares"]["matrix products"] > 0
    if native.library() is not None:
        assert {"activations", "norms", "optimizer"} <= set(told["shares"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["steps=1000"], "its run ended before 1003 steps"),
        (["options.train.batchsize=4"], "no such option; did you mean 'batch_size'"),
    ],
)
def test_what_cannot_be_profiled_is_said(recipe, capsys, options, message):
    assert main(["profile", str(recipe), *STEPS, *options]) == 2
    assert message in capsys.readouterr().err


def test_evaluations_between_the_steps_are_not_counted(recipe, capsys):
    assert main(["profile", str(recipe), *STEPS, "options.train.eval_steps=1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert sum(share for kind, share in told["shares"].items()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("verb", ["3", '"corpus"', '"fine-tune"'])
def test_only_training_is_profiled(recipe, capsys, verb):
    recipe.write_text(f"verb = {verb}\n", encoding="utf-8")
    assert main(["profile", str(recipe)]) == 2
    assert "only pretrain and finetune take training steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("aten::addmm", "matrix products"),
        ("aten::_softmax_backward_data", "softmax"),
        ("aten::gelu_backward", "activations"),
        ("aten::_fused_adamw_", "optimizer"),
        ("aten::copy_", "casts and copies"),
        ("aten::lt_", "dropout"),
        ("aten::add_", "other arithmetic"),
        ("aten::index_select", "rows gathered and scattered"),
        ("aten::view", "bookkeeping"),
        ("autograd::engine::evaluate_function: AddmmBackward0", "bookkeeping"),
    ],
)
def test_operations_are_of_the_kind_they_seem(operation, kind):
    assert kind_of(operation) == kind
