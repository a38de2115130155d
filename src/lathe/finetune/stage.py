"""Fine-tuning: a base model, labelled rows and a task in; a model that answers out."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field
from transformers import PreTrainedModel

from lathe.core import parallel, runtime
from lathe.core.batches import EncodedRows, StepSize, refuse_sizes
from lathe.core.bundle import Bundle, Manifest
from lathe.core.data import Columns, write_quarantine
from lathe.core.fit import restore_best, settled
from lathe.core.predictor import TaskPredictor
from lathe.core.recipe import dump, recipe
from lathe.core.report import say
from lathe.core.types import Symbols
from lathe.core.work import Work, run_together
from lathe.models.baselines import baseline
from lathe.models.pretrained import (
    check_folder,
    open_config,
    open_model,
    open_tokenizer,
    save_model,
    summary,
    training_bytes,
)
from lathe.runtimes.eager import torch_forward
from lathe.tasks import AnyTask
from lathe.tasks.encoding import longest_input
from lathe.tasks.examples import Examples, encode, evaluate, hold_out, read_tables, resolve, use_of
from lathe.tasks.training import TaskTrain, score, train_on


@recipe
class Data:
    train: Path
    """Labelled rows: JSONL, CSV, TSV or Parquet, plain or compressed."""
    validation: Path | None = None
    """Rows that select the best model; a share of the training rows is held out where not given."""
    test: Path | None = None
    """Rows that are looked at once, at the end."""
    columns: Columns = Columns()
    """Names of the columns, where they are not found by themselves."""
    validation_ratio: float = Field(0.1, gt=0, lt=1)
    """Share of the training rows held out where no validation file is given."""


@recipe
class FinetuneTrain(TaskTrain):
    learning_rate: float = Field(2e-4, gt=0)
    """Highest learning rate."""


@recipe
class Recipe:
    base: Path
    """Folder of the model to start from: a bundle, or any Hugging Face folder with safetensors."""
    data: Data
    """The labelled rows."""
    task: AnyTask
    """What the rows mean."""
    train: FinetuneTrain = FinetuneTrain()
    """How to train."""


def run(recipe: Recipe, out: Path) -> Bundle:
    """Fine-tune; ``out`` becomes a bundle that opens with ``AutoModel...from_pretrained`` and with ``lathe.load``."""
    data = recipe.data
    inputs = [recipe.base, data.train, data.validation, data.test]
    return run_together("finetune", recipe, out, inputs, partial(_make, recipe))


def _make(recipe: Recipe, work: Work) -> Manifest:
    runtime.set_up()
    check_folder(recipe.base)  # all that can be wrong with files is found before a model is loaded
    config = open_config(recipe.base)
    tokenizer = open_tokenizer(recipe.base)
    files = {"train": recipe.data.train, "validation": recipe.data.validation, "test": recipe.data.test}
    with runtime.memory_ahead(training_bytes(recipe.base)):
        tables = read_tables(files, recipe.task, recipe.data.columns)
        bad = [bad for table in tables.values() for bad in table.bad]
        parallel.once(lambda: write_quarantine(bad, work.path / "quarantine.jsonl"))
        task = resolve(recipe.task, tables, longest_input(tokenizer, config))
        splits = {name: encode(table, task, tokenizer) for name, table in tables.items()}
    if "validation" not in splits:
        splits["train"], splits["validation"] = hold_out(splits["train"], recipe.data.validation_ratio)
    lengths, train = EncodedRows(splits["train"].encoded, splits["train"].keys).lengths, recipe.train
    refuse_sizes(lengths, StepSize(train.batch_size), train.tokens_per_batch, parallel.ranks().size)
    opened = open_model(task.auto_model, recipe.base, task.outputs, recipe.train.seed, Symbols.of(tokenizer).pad)
    size = f"{opened.model.config.model_type}, {opened.model.num_parameters():,} parameters"
    say(f"{recipe.base}: {size}; new weights: {summary(opened.new) or 'none'}")
    scores = _train(settled(recipe.train, work), task, tokenizer, opened.model, splits, work)
    saved = save_model(opened.model, tokenizer, work.result)
    used = tuple(use_of(table) for table in tables.values())
    return Manifest(kind="model", stage="finetune", task=dump(task), data=used, scores=scores, runtime=saved)


def _train(
    config: FinetuneTrain,
    task: AnyTask,
    tokenizer: Any,
    model: PreTrainedModel,
    splits: Mapping[str, Examples],
    work: Work,
) -> dict[str, Any]:
    """Train, keep the best model by the task's first metric, and score it."""
    source = EncodedRows(splits["train"].encoded, splits["train"].keys)
    predictor = TaskPredictor(task, tokenizer, torch_forward(model, config.precision))
    taken = train_on(task, source, model, predictor, splits["validation"], config, work)
    if taken["best_step"] != taken["steps"]:
        save_model(model, tokenizer, work.result / "last")
        restore_best(work, model)
    return _final_scores(task, predictor, splits) | taken


def _final_scores(task: AnyTask, predictor: TaskPredictor, splits: Mapping[str, Examples]) -> dict[str, Any]:
    """The best model beside its cheap baseline, on everything it was not trained on."""
    simple = baseline(task.kind)(splits["train"].rows)
    scores: dict[str, Any] = {}
    for name in ("validation", "test"):
        if name in splits:
            golds = [task.gold(row) for row in splits[name].rows]
            scores[name] = score(predictor, splits[name])
            scores[f"{name}_baseline"] = evaluate(task.metrics, golds, simple(splits[name].rows))
            both = [
                f"{metric} {value:.4f} (baseline {scores[f'{name}_baseline'][metric]:.4f})"
                for metric, value in scores[name].items()
            ]
            say(f"{name}: " + ", ".join(both))
    return scores
