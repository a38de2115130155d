"""What a pretraining run reads: text, or rows that were packed before, which are the same to it."""

from pathlib import Path

import pytest

from lathe import corpus
from lathe.core.errors import DataError
from lathe.core.recipe import merged, parse
from lathe.pretrain import Recipe, run
from lathe.tokenizer import pack

SHAPE = {"kind": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture
def text(tmp_path: Path, tokenizer) -> Path:
    """A corpus with held-out text."""
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    lines = [f"the film {n} is good and the plot is not bad, 影片很好" for n in range(60)]
    (tmp_path / "texts.txt").write_text("\n".join(lines), encoding="utf-8")
    source = {"kind": "files", "paths": [str(tmp_path / "texts.txt")]}
    values = {"source": source, "steps": ["normalise"], "split": {"validation": 0.2}}
    return corpus.run(parse(corpus.Recipe, values), tmp_path / "corpus").path


def recipe(train: Path, /, **changes: object) -> Recipe:
    values = {"tokenizer": train.parent / "tokenizer", "max_length": 16, "model": SHAPE, "data": {"train": train}}
    train_values = {"tokens_per_step": 128, "precision": "fp32", "max_steps": 3}
    return parse(Recipe, merged(values | {"train": train_values}, changes))


def packed(text: Path, name: str = "packed", **changes: object) -> Path:
    values = {"text": str(text), "tokenizer": str(text.parent / "tokenizer"), "max_length": 16} | changes
    return pack.run(parse(pack.Recipe, values), text.parent / name).path


@pytest.mark.parametrize("unit", ["tokens", "words"])
def test_a_model_of_packed_rows_is_that_of_their_text(tmp_path: Path, text: Path, unit: str):
    objective = {"kind": "masked", "unit": unit}
    rows = packed(text, objective=objective)
    ours, theirs = (run(recipe(train, objective=objective), tmp_path / f"m-{train.name}") for train in (rows, text))
    assert (ours.path / "model.safetensors").read_bytes() == (theirs.path / "model.safetensors").read_bytes()
    assert ours.manifest.scores["validation_loss"] == theirs.manifest.scores["validation_loss"]
    assert not list((tmp_path / f"m-{rows.name}").rglob("ids.bin"))


def test_packed_rows_of_a_file_can_be_measured_on(tmp_path: Path, text: Path):
    held = packed(tmp_path / "texts.txt", "held")
    made = run(recipe(packed(text), data={"validation": held}), tmp_path / "out")
    assert made.manifest.scores["validation_loss"] > 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"max_length": 12}, "max_length: 16 -> 12"),
        ({"objective": {"kind": "masked_sop"}}, r'layout\.cut: "full" -> "between"'),
        ({"data": {"sample_ratio": 0.5}}, "is packed, and data.sample_ratio chooses among texts"),
        ({"train": {"phases": [{"ratio": 0.5, "max_length": 8}]}}, "max_length: 16 -> 8"),
    ],
)
def test_rows_that_are_not_those_of_the_run_are_refused_with_what_differs(
    tmp_path: Path, text: Path, changes, said: str
):
    with pytest.raises(DataError, match=said):
        run(recipe(packed(text), **changes), tmp_path / "out")
    assert not (tmp_path / "out.work").exists()


def test_rows_of_another_tokenizer_are_refused(tmp_path: Path, text: Path, tokenizer):
    rows = packed(text)
    tokenizer.add_tokens(["another"])
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    with pytest.raises(DataError, match="tokenizer: "):
        run(recipe(rows), tmp_path / "out")
