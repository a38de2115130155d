"""`lathe plan`: what it says is what the run then does, and nothing is left behind."""

import json
from pathlib import Path

import pytest

from lathe.cli import main
from lathe.core import runtime
from lathe.core.bundle import Bundle
from lathe.core.work import read_log
from lathe.plan import HEAP

EVERY_STEP = "options.train.save_steps=1"


@pytest.fixture
def pretraining(tmp_path: Path, classifier: Path) -> Path:
    (tmp_path / "text.txt").write_text("\n".join("the good film is not bad " * (n % 4 + 1) for n in range(80)), "utf-8")
    lines = [
        'verb = "pretrain"',
        f'tokenizer = "{classifier}"',
        "max_length = 24",
        f'data = {{ train = "{tmp_path}/text.txt", validation = "{tmp_path}/text.txt" }}',
        "model = { hidden_size = 32, num_hidden_layers = 2, num_attention_heads = 2 }",
        'train = { tokens_per_step = 128, epochs = 2.5, precision = "fp32" }',
    ]
    return written(tmp_path, lines)


@pytest.fixture
def finetuning(tmp_path: Path, classifier: Path) -> Path:
    rows = [{"text": f"a good film {n} " * (n % 4 + 1), "label": ("good", "bad")[n % 2]} for n in range(64)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    lines = [
        'verb = "finetune"',
        f'base = "{classifier}"',
        f'data = {{ train = "{tmp_path}/rows.jsonl" }}',
        'task = { kind = "classify", max_length = 16 }',
        'train = { epochs = 2, batch_size = 8, precision = "fp32" }',
    ]
    return written(tmp_path, lines)


def written(folder: Path, lines: list[str]) -> Path:
    recipe = folder / "recipe.toml"
    recipe.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return recipe


def plan(capsys, *arguments: str | Path) -> dict:
    assert main(["plan", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("kind", ["pretraining", "finetuning"])
def test_a_plan_is_what_the_run_then_does(kind, request, tmp_path, capsys):
    recipe = request.getfixturevalue(kind)
    before = sorted(tmp_path.iterdir())
    planned = plan(capsys, recipe, "trial_seconds=0")
    assert sorted(tmp_path.iterdir()) == before
    verb = "pretrain" if kind == "pretraining" else "finetune"
    assert main([verb, str(recipe), "-o", str(tmp_path / "out")]) == 0
    log = read_log(Bundle.open(tmp_path / "out").path)
    steps = [line for line in log if line["event"] == "step"]
    assert planned["steps"] == len(steps)
    assert planned["tokens"] == sum(line["tokens"] for line in steps)
    assert planned["time"]["evaluations"] == sum(line["event"] == "evaluation" for line in log)
    assert f"{planned['parameters']['all']:,} parameters" in capsys.readouterr().err


def test_without_a_trial_time_is_a_bound_and_memory_an_estimate(finetuning, capsys):
    planned = plan(capsys, finetuning, "trial_seconds=0")
    memory, flops, time = planned["memory"], planned["flops"], planned["time"]
    assert memory["tensors"] == sum(memory[part] for part in ("weights", "gradients", "optimizer", "activations"))
    assert (memory["process_found"], memory["process"]) == ("estimated", round(HEAP * memory["tensors"]))
    assert flops["forward_per_token"] < flops["training_per_token"] <= 3 * flops["forward_per_token"]
    assert flops["total"] == pytest.approx(flops["training_per_token"] * planned["tokens"])
    assert (time["found"], time["trial_steps"]) == ("bound", 0)
    assert time["training_seconds"] == pytest.approx(flops["total"] / flops["peak_per_second"])


def test_a_checkpoint_that_is_written_beside_training_is_a_copy(finetuning, capsys):
    memory = plan(capsys, finetuning, "trial_seconds=0", EVERY_STEP)["memory"]
    assert memory["process"] == round(HEAP * memory["tensors"]) + memory["weights"] + memory["optimizer"]


def test_a_trial_measures_in_a_process_of_its_own(finetuning, capsys):
    planned = plan(capsys, finetuning, "trial_seconds=0.05", "options.train.epochs=50")
    assert planned["time"]["found"] == planned["memory"]["process_found"] == "measured"
    assert 6 <= planned["time"]["trial_steps"] < planned["steps"]
    assert planned["time"]["training_seconds"] > 0 and planned["time"]["evaluation_seconds"] > 0
    assert planned["memory"]["process"] > planned["memory"]["weights"]


def test_a_person_reads_a_table(pretraining, capsys):
    assert main(["plan", str(pretraining), "trial_seconds=0"]) == 0
    told = capsys.readouterr().out
    assert "lathe pretrain, bert, fp32" in told
    assert all(f"\n  {part}" in told for part in ("parameters", "run ", "memory", "arithmetic", "time "))
    assert "does not fit" not in told


def test_a_run_that_does_not_fit_is_not_tried_and_the_way_out_is_said(pretraining, capsys, monkeypatch):
    monkeypatch.setattr(runtime, "free_memory", lambda: 1 << 20)
    assert main(["plan", str(pretraining)]) == 0
    told = capsys.readouterr().out
    assert "This does not fit: 1 MiB are free. Lower train.tokens_per_batch" in told and "at least" in told


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verb": '"compress"'}, "only pretrain and finetune take training steps"),
        ({"base": '"nowhere"'}, "nowhere: no such folder"),
        ({"surprise": "1"}, "surprise: no such option"),
    ],
)
def test_what_cannot_be_planned_is_said(finetuning, capsys, change, message):
    lines = [line for line in finetuning.read_text(encoding="utf-8").splitlines() if line.split()[0] not in change]
    finetuning.write_text("\n".join([*(f"{k} = {v}" for k, v in change.items()), *lines]), encoding="utf-8")
    assert main(["plan", str(finetuning), "trial_seconds=0"]) == 2
    assert message in capsys.readouterr().err


def test_a_recipe_that_is_not_there_is_named(tmp_path, capsys):
    assert main(["plan", str(tmp_path / "none.toml")]) == 2
    assert "none.toml: no such file" in capsys.readouterr().err
