"""The ready recipes: each is what its verb takes, says how it is called, and the small ones run."""

import json
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from transformers import AutoModelForMaskedLM, BertConfig, PreTrainedTokenizerFast

from lathe.cli import main
from lathe.core.recipe import parse, read_toml
from lathe.models.pretrained import new_model, save_model
from lathe.stories.story import prepare, read_story
from lathe.verbs import VERBS

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.toml"))
STORIES = [path for path in RECIPES if "stage" in read_toml(path)]
SINGLE = [path for path in RECIPES if path not in STORIES]
ENGLISH = [("good film", "good"), ("a great plot", "good"), ("bad film", "bad"), ("the plot is awful", "bad")]
CHINESE = [("影片很好", "好"), ("好看", "好"), ("影片很坏", "坏"), ("不好", "坏")]
WORDS = ["film", "plot", "good", "a", "the", "is", "not", "in"]
TAGGED = [
    {"tokens": ["a", "film", "in", "Paris"], "tags": ["O", "O", "O", "B-LOC"]},
    {"tokens": ["在", "北", "京"], "tags": ["O", "B-LOC", "I-LOC"]},
]
STEPS = ["train.max_steps=2"]


def name(path: Path) -> str:
    return path.stem


def recipe(stem: str) -> str:
    return str(next(path for path in RECIPES if path.stem == stem))


def classified(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"text": f"{text} {word}", "label": label} for word in WORDS for text, label in pairs]


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def encoder(tmp_path: Path, tokenizer: PreTrainedTokenizerFast, bert_config: BertConfig) -> Path:
    save_model(new_model(AutoModelForMaskedLM, bert_config, seed=0), tokenizer, tmp_path / "encoder")
    return tmp_path / "encoder"


@pytest.mark.parametrize("path", SINGLE, ids=name)
def test_a_recipe_is_what_its_verb_takes(path):
    values = read_toml(path)
    parse(import_module(VERBS[values.pop("verb")].package).Recipe, values)


@pytest.mark.parametrize("path", STORIES, ids=name)
def test_every_stage_of_a_story_is_what_its_verb_takes(path, tmp_path):
    assert prepare(read_story(path), tmp_path)


@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_a_recipe_shows_the_command_that_runs_it(path):
    calls = [shlex.split(line) for line in re.findall(r"^#     lathe (.*)$", path.read_text("utf-8"), re.MULTILINE)]
    assert f"recipes/{path.name}" in calls[0]
    assert {call[0] for call in calls} <= set(VERBS)


@pytest.mark.parametrize(
    ("stem", "rows"),
    [
        ("classify-english", classified(ENGLISH)),
        ("classify-chinese", classified(CHINESE)),
        ("tag", TAGGED * 12),
    ],
)
def test_a_fine_tuning_recipe_runs(stem, rows, tmp_path, encoder):
    data = write(tmp_path / "rows.jsonl", rows)
    out = tmp_path / "out"
    arguments = [f"base={encoder}", f"data.train={data}", f"data.validation={data}", *STEPS]
    if stem != "tag":
        arguments.append("task.max_length=16")  # the tiny model takes no more
    assert main(["finetune", recipe(stem), *arguments, "-o", str(out)]) == 0
    assert (out / "model.safetensors").is_file()


def test_the_pretraining_recipe_runs(tmp_path, encoder):
    text = write(tmp_path / "text.jsonl", [{"text": text} for text, _ in ENGLISH * 8])
    shape = ["model.hidden_size=16", "model.num_hidden_layers=1", "model.num_attention_heads=2"]
    arguments = [f"data.train={text}", f"tokenizer={encoder}", *shape, *STEPS, "train.tokens_per_step=64"]
    assert main(["pretrain", recipe("pretrain"), *arguments, "-o", str(tmp_path / "out")]) == 0


def test_the_story_for_a_team_s_own_text_runs(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    words = [f"{text} number {number}" for number in range(60) for text, _ in ENGLISH + CHINESE]
    (tmp_path / "texts/all.txt").write_text("\n".join(words), encoding="utf-8")
    write(tmp_path / "labelled.jsonl", classified(ENGLISH))
    small = [
        "stages.tokenizer.vocab_size=128",
        "stages.encoder.model={hidden_size=16, num_hidden_layers=2, num_attention_heads=2}",
        "stages.encoder.train.max_steps=2",
        "stages.classifier.train.max_steps=2",
        'stages.model.steps=[{kind="distill", train={max_steps=2}}, "int8"]',
    ]
    assert main(["run", recipe("own-text"), "-o", "own", *small]) == 0
    assert (tmp_path / "own/model/manifest.json").is_file()
