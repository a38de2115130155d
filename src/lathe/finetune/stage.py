"""Fine-tuning: a base model, labelled rows and a task in; a model that answers out."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from lathe.core import calibration, parallel, runtime
from lathe.core.batches import EncodedRows, StepSize, refuse_sizes
from lathe.core.bundle import Bundle, Manifest
from lathe.core.data import Columns, Table, write_quarantine
from lathe.core.fit import Course, restore_best, settled
from lathe.core.layers import rate_factors
from lathe.core.optim import Optimizers, at_rates
from lathe.core.predictor import TaskPredictor
from lathe.core.ready import Evaluations, Ready, evaluation_steps
from lathe.core.recipe import dump, recipe
from lathe.core.report import heard, say
from lathe.core.stats import score
from lathe.core.types import Symbols, lengths_of, pieces_of
from lathe.core.work import Work, read_log, run_together
from lathe.finetune.adapt import ADAPTER, Adapted, AnyAdaptation, Full, check, told
from lathe.finetune.report import NAME, Run, report
from lathe.models import AnyModel
from lathe.models.baselines import baseline
from lathe.models.beginnings import begin_with
from lathe.models.pretrained import (
    Opened,
    longest_input,
    save_model,
    summary,
    with_head,
)
from lathe.tasks import AnyTask
from lathe.tasks.examples import (
    Examples,
    answers_to,
    encode,
    evaluate,
    hold_out,
    read_collection,
    read_tables,
    resolve,
    simple_answers,
    use_of,
)
from lathe.tasks.findings import Findings
from lathe.tasks.forward import task_forward
from lathe.tasks.origin import Furnishes, KnowsPrior, Origin
from lathe.tasks.training import (
    TaskTrain,
    course_of,
    mean_loss,
    selection_of,
    steps_between,
    train_on,
    tuned,
    watched_of,
)


@recipe
class Data:
    train: Path
    """Labelled rows: JSONL, CSV, TSV or Parquet, plain or compressed."""
    validation: Path | None = None
    """Rows that select the best model; a share of the training rows is held out where not given."""
    test: Path | None = None
    """Rows that are looked at once, at the end."""
    collection: Path | None = None
    """Texts that are searched, with ids or without; where not given, of each file the texts that stand in it."""
    columns: Columns = Columns()
    """Names of the columns, where they are not found by themselves."""
    validation_ratio: float = Field(0.1, gt=0, lt=1)
    """Share of the training rows held out where no validation file is given."""


@recipe
class FinetuneTrain(TaskTrain):
    learning_rate: float = Field(2e-4, gt=0)
    """Highest learning rate."""
    layer_decay: float | None = Field(None, gt=0, le=1)
    """Each layer learns at this share of the rate of the one above it, and the top one at this share of the head's."""

    def optimizers(self, model: PreTrainedModel) -> Optimizers:
        optimizers = self.optimizer(model)
        return optimizers if self.layer_decay is None else at_rates(optimizers, rate_factors(model, self.layer_decay))


@recipe
class Recipe:
    base: Path | None = None
    """Folder of the model to start from: a bundle, or any Hugging Face folder with safetensors."""
    model: AnyModel | None = None
    """Shape of a new model, instead of `base`: it learns the task from nothing."""
    tokenizer: Path | None = None
    """Folder of the tokenizer of a new model; task.kind=recommend makes its own of the items."""
    data: Data
    """The labelled rows."""
    task: AnyTask
    """What the rows mean."""
    adapt: AnyAdaptation = Full()
    """Which weights are trained: all of them, some, or those of a small adapter."""
    train: FinetuneTrain = FinetuneTrain()
    """How to train."""


def run(recipe: Recipe, out: Path) -> Bundle:
    """Fine-tune; ``out`` becomes a bundle that opens with ``AutoModel...from_pretrained`` and with ``lathe.load``."""
    data = recipe.data
    inputs = [recipe.base, recipe.tokenizer, data.train, data.validation, data.test, data.collection]
    return run_together("finetune", recipe, out, inputs, partial(_make, recipe))


@dataclass(frozen=True)
class Inputs:
    """What the files of a recipe hold."""

    tokenizer: Any
    shape: PretrainedConfig
    task: AnyTask
    tables: Mapping[str, Table]
    splits: Mapping[str, Examples]

    @property
    def source(self) -> EncodedRows:
        return self.splits["train"].source


def ahead(recipe: Recipe) -> int:
    """Bytes that a run takes while it reads its files; where few weights are trained it does not pay."""
    return _origin(recipe).training_bytes(recipe.train.batch_size) if recipe.adapt.kind == "full" else 0


def prepare(recipe: Recipe, work: Work) -> Ready:
    """All that comes before the model is opened."""
    inputs = read_inputs(recipe, work)
    course = course_of(inputs.task, inputs.source, inputs.tokenizer, recipe.train)
    shape = with_head(inputs.shape, inputs.task.outputs, Symbols.of(inputs.tokenizer).pad)
    return Ready(
        inputs.task.auto_model,
        shape,
        lambda: recipe.adapt(open_base(recipe, inputs), recipe.train.seed).model,
        course,
        recipe.train,
        _evaluations(recipe, inputs, course),
        lambda model: recipe.adapt(Opened(model, _origin(recipe).absent(model), ()), recipe.train.seed),
    )


def _make(recipe: Recipe, work: Work) -> Manifest:
    runtime.set_up()
    _origin(recipe).check(recipe.task)
    with runtime.memory_ahead(ahead(recipe)), heard() as noticed:
        inputs = read_inputs(recipe, work)
    opened = open_base(recipe, inputs)
    adapted = recipe.adapt(opened, recipe.train.seed)
    size = f"{opened.model.config.model_type}, {told(opened.model)}"
    say(f"{recipe.base or 'a new model'}: {size}; new weights: {summary(opened.new) or 'none'}")
    findings, task, scores = _train(settled(recipe.train, work), inputs, adapted, work)
    saved = save_model(adapted.merged(some_inputs(inputs)), inputs.tokenizer, work.result)
    if isinstance(task, Furnishes):
        task.furnish(work.result, opened.model.config)
    if getattr(recipe.adapt, "keep_adapter", False):
        adapted.save_adapter(work.result / ADAPTER)
    metric, log = selection_of(task, recipe.train).metric, read_log(work.path)
    about = Run(size, recipe.adapt.kind, metric, findings, inputs.tables, inputs.splits, noticed, scores, log)
    (work.result / NAME).write_text(report(about), encoding="utf-8")
    used = tuple(use_of(table) for table in inputs.tables.values())
    return Manifest(kind="model", stage="finetune", task=dump(task), data=used, scores=scores, runtime=saved)


def read_inputs(recipe: Recipe, work: Work) -> Inputs:
    """All that can be wrong with files is found before a model is loaded."""
    runtime.set_up()
    selection_of(recipe.task, recipe.train)
    origin = _origin(recipe)
    tables = _tables(recipe, work) if origin.makes_tokenizer(recipe.task) else {}
    tokenizer, config = origin.read(recipe.task, tables)
    check(recipe.adapt, config, is_new=recipe.base is None)
    tables = tables or _tables(recipe, work)
    task = resolve(recipe.task, tables, longest_input(tokenizer, config))
    collection = read_collection(recipe.data.collection, task, tables)
    splits = {name: encode(table, task, tokenizer, collection) for name, table in tables.items()}
    if "validation" not in splits:
        splits["train"], splits["validation"] = hold_out(splits["train"], task, recipe.data.validation_ratio)
    inputs = Inputs(tokenizer, config, task, tables, splits)
    size = StepSize(recipe.train.batch_size)
    refuse_sizes(inputs.source.lengths, size, recipe.train.tokens_per_batch, parallel.ranks().size)
    return inputs


def _tables(recipe: Recipe, work: Work) -> dict[str, Table]:
    files = {"train": recipe.data.train, "validation": recipe.data.validation, "test": recipe.data.test}
    tables = read_tables(files, recipe.task, recipe.data.columns)
    bad = {id(bad): bad for table in tables.values() for bad in table.bad}
    parallel.once(lambda: write_quarantine([*bad.values()], work.path / "quarantine.jsonl"))
    return tables


def open_base(recipe: Recipe, inputs: Inputs) -> Opened:
    opened = _origin(recipe).open(inputs.task, inputs.tokenizer, inputs.shape, recipe.train.seed)
    if isinstance(inputs.task, KnowsPrior):
        begin_with(inputs.task.log_prior(inputs.source.rows), opened)
    opened.model.config.problem_type = getattr(inputs.task, "problem_type", None)  # what others make of the logits
    return opened


def _origin(recipe: Recipe) -> Origin:
    return Origin(recipe.base, recipe.model, recipe.tokenizer)


def _evaluations(recipe: Recipe, inputs: Inputs, course: Course) -> Evaluations:
    """The validation rows after some steps each time; a sample of them is what one batch of prediction takes."""
    count = evaluation_steps(course.total, steps_between(course, recipe.train))
    watched = watched_of(inputs.splits["validation"], inputs.task, recipe.train)
    lengths = np.array([lengths_of(pieces_of(row)).sum() for row in watched.encoded])

    def sample(model: PreTrainedModel) -> int:
        predictor = predictor_of(inputs, model, recipe.train)
        few = max(1, int(np.searchsorted(lengths.cumsum(), 2 * predictor.tokens_per_batch)))
        predictor.predict(watched.encoded[:few])
        mean_loss(model, predictor, watched.part(np.arange(len(lengths)) < few), recipe.train)
        return int(lengths[:few].sum())

    return Evaluations(count, count * int(lengths.sum()), sample)


def predictor_of(inputs: Inputs, model: PreTrainedModel, config: FinetuneTrain) -> TaskPredictor:
    forward = task_forward(inputs.task, model, inputs.tokenizer, config.precision)
    return TaskPredictor(inputs.task, inputs.tokenizer, forward)


def some_inputs(inputs: Inputs) -> Mapping[str, Tensor]:
    """A few rows of training as the model sees them."""
    rows = inputs.source.rows[:8]
    batch = inputs.task.collate(rows, np.zeros(len(rows), np.uint64), Symbols.of(inputs.tokenizer))
    return batch.to(runtime.device()).inputs


def _train(
    config: FinetuneTrain, inputs: Inputs, adapted: Adapted, work: Work
) -> tuple[Findings, AnyTask, dict[str, Any]]:
    """Train, keep the best model, and score it; the task with what validation chose."""
    splits, model = inputs.splits, adapted.model
    predictor = predictor_of(inputs, model, config)
    taken = train_on(inputs.task, inputs.source, model, predictor, splits["validation"], config, work)
    if taken["best_step"] != taken["steps"]:
        save_model(adapted.merged(some_inputs(inputs)), inputs.tokenizer, work.result / "last")
        restore_best(work, model)
    predictor = tuned(predictor, splits["validation"])
    findings, scores = final_scores(predictor.task, predictor, splits)
    calibrate(findings, work.result)
    return [*findings.values()][-1], predictor.task, scores | taken


def calibrate(findings: Mapping[str, Findings], folder: Path) -> None:
    """Keep how sure the model may be of its answers: by the validation rows, which have selected it, too."""
    held_out = findings["validation"]
    calibration.write(folder, held_out.kind, held_out.golds, held_out.predictions)


def final_scores(
    task: AnyTask, predictor: TaskPredictor, splits: Mapping[str, Examples]
) -> tuple[dict[str, Findings], dict[str, Any]]:
    """The best model beside its cheap baseline, on everything it was not trained on."""
    simple = baseline(task, splits["train"].rows)
    scores: dict[str, Any] = {}
    shown: dict[str, Findings] = {}
    for name in ("validation", *(["test"] if "test" in splits else [])):
        golds = [task.gold(row) for row in splits[name].rows]
        findings = shown[name] = Findings(task.kind, task.labels or (), golds, answers_to(predictor, splits[name]))
        found = {metric: score(function, golds, findings.predictions) for metric, function in task.metrics.items()}
        cheap = evaluate(task.metrics, golds, simple_answers(simple, splits[name]))
        scores[name] = {metric: one.value for metric, one in found.items()}
        scores[f"{name}_interval"] = {metric: [one.low, one.high] for metric, one in found.items()}
        scores[f"{name}_baseline"] = cheap
        told = [f"{metric} {one.value:.4f} (baseline {cheap[metric]:.4f})" for metric, one in found.items()]
        say(f"{name}: {', '.join(told)}")
    return shown, scores
