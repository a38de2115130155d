"""Pretraining: text in, a language model out, from scratch or continued."""

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from transformers import PretrainedConfig, PreTrainedModel

from lathe.core import parallel, runtime
from lathe.core.batches import Plan, Rows, StepSize, cut, refuse_sizes
from lathe.core.bundle import Bundle, Manifest, is_bundle
from lathe.core.documents import Split, read_texts, splits_of
from lathe.core.errors import DataError, RecipeError
from lathe.core.fit import Course, fit, settled
from lathe.core.keyed import is_chosen, permutation, row_seeds
from lathe.core.learn import Train
from lathe.core.optim import AdamW, AnyOptimizer
from lathe.core.ready import Evaluations, Ready, evaluation_steps
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.runtime import autocast, dtype_of
from lathe.core.tokens import TokenFile
from lathe.core.types import Symbols
from lathe.core.work import Work, run_together
from lathe.models import AnyModel, Bert
from lathe.models.pretrained import (
    check_folder,
    new_model,
    open_config,
    open_model,
    open_tokenizer,
    save_model,
)
from lathe.objectives import AnyObjective, MaskedLM
from lathe.tasks.encoding import longest_input

ROWS_ON_THE_WAY, ROWS_AT_THE_END = 500, 4000
"""Validation rows that the loss is measured on: few while the run lasts, most at its end."""


@recipe
class Data:
    train: Path
    """Text to learn from: a corpus bundle, or a file of text, JSONL, CSV or Parquet, plain or compressed."""
    validation: Path | None = None
    """Text to measure on; a corpus bundle brings its own."""
    sample_ratio: float = Field(1.0, gt=0, le=1)
    """Share of the training documents that is used, chosen by their text: for a run too short to read them all."""


@recipe
class PretrainTrain(Train):
    learning_rate: float = Field(1e-3, gt=0)
    """Highest learning rate."""
    epochs: float = Field(1.0, gt=0, le=1000)
    """Passes over the text."""
    tokens_per_step: int = Field(8192, ge=1)
    """Tokens in each optimizer step."""
    eval_steps: int | None = Field(None, ge=1)
    """Steps between evaluations; without it ten times in all."""
    optimizer: AnyOptimizer = AdamW(adam_beta2=0.98)
    """Update rule."""


@recipe
class Recipe:
    data: Data
    """The text."""
    tokenizer: Path | None = None
    """Folder of the tokenizer, for a model from scratch; a continued model has its own."""
    base: Path | None = None
    """Folder of the model to go on from; without it a new one is made."""
    model: AnyModel = Bert()
    """Shape of a new model."""
    objective: AnyObjective = MaskedLM()
    """What is predicted."""
    max_length: int = Field(128, ge=2)
    """Longest row in tokens; longer documents become several rows."""
    train: PretrainTrain = PretrainTrain()
    """How to train."""


def run(recipe: Recipe, out: Path) -> Bundle:
    """Pretrain; ``out`` becomes a bundle that opens with ``AutoModelFor...LM.from_pretrained``."""
    _check_origin(recipe)
    inputs = [recipe.data.train, recipe.data.validation, recipe.tokenizer, recipe.base]
    return run_together("pretrain", recipe, out, inputs, partial(_make, recipe))


@dataclass(frozen=True)
class Inputs:
    """What the files of a recipe hold."""

    tokenizer: Any
    shape: PretrainedConfig
    train: TokenFile
    validation: TokenFile | None

    @property
    def symbols(self) -> Symbols:
        return Symbols.of(self.tokenizer)


def ahead(_: Recipe) -> int:
    """Bytes that a run takes while it reads its files: none, it reads them once and may then go on many times."""
    return 0


def prepare(recipe: Recipe, work: Work) -> Ready:
    """All that comes before the model is made."""
    return _ready(recipe, _read(recipe, work))


def _make(recipe: Recipe, work: Work) -> Manifest:
    inputs = _read(recipe, work)
    ready = _ready(recipe, inputs)
    model = ready.build()
    say(
        f"{inputs.shape.model_type}, {model.num_parameters():,} parameters; "
        f"{len(inputs.train):,} rows, {inputs.train.lengths.sum():,} tokens"
    )
    scores = _train(replace(recipe, train=settled(recipe.train, work)), inputs, ready.course, model, work)
    saved = save_model(model, inputs.tokenizer, work.result)
    return Manifest(
        kind="model", stage="pretrain", scores=scores, runtime=saved, preprocessing={"max_length": recipe.max_length}
    )


def _read(recipe: Recipe, work: Work) -> Inputs:
    _check_origin(recipe)
    runtime.set_up()
    tokenizer = open_tokenizer(recipe.base or recipe.tokenizer or Path())
    if recipe.base:
        check_folder(recipe.base)
    shape = open_config(recipe.base) if recipe.base else recipe.model.config(tokenizer)
    if recipe.max_length > (longest := longest_input(tokenizer, shape, limit=1 << 30)):
        raise RecipeError(f"max_length: {recipe.max_length} is more than this model takes ({longest})")
    recipe.objective.check_model(shape, Symbols.of(tokenizer))
    ratio = recipe.data.sample_ratio
    train = _tokens(work.path / "tokens-train", recipe.data.train, "train", recipe, tokenizer, ratio)
    inputs = Inputs(tokenizer, shape, train, _validation(recipe, tokenizer, work))
    size = StepSize(recipe.train.tokens_per_step, "tokens")
    refuse_sizes(train.lengths, size, recipe.train.tokens_per_batch, parallel.ranks().size)
    return inputs


def _check_origin(recipe: Recipe) -> None:
    if (recipe.base is None) == (recipe.tokenizer is None):
        raise RecipeError("give either `base` (go on from a model) or `tokenizer` (a new model)")


def _ready(recipe: Recipe, inputs: Inputs) -> Ready:
    auto_model, seed = recipe.objective.auto_model, recipe.train.seed

    def build() -> PreTrainedModel:
        if recipe.base:
            return open_model(auto_model, recipe.base, seed=seed).model
        return new_model(auto_model, inputs.shape, seed)

    course = _course(recipe, inputs)
    return Ready(auto_model, inputs.shape, build, course, recipe.train, _evaluations(recipe, inputs, course.total))


def _course(recipe: Recipe, inputs: Inputs) -> Course:
    config = recipe.train
    plan = Plan(inputs.train.lengths, StepSize(config.tokens_per_step, "tokens"), config.seed)
    total = config.max_steps or plan.count(config.epochs)
    return Course(recipe.objective, inputs.train, inputs.symbols, plan, total)


def _evaluations(recipe: Recipe, inputs: Inputs, total: int) -> Evaluations | None:
    if (validation := inputs.validation) is None:
        return None
    count = evaluation_steps(total, _every(recipe.train, total))
    rows = (count - 1) * min(len(validation), ROWS_ON_THE_WAY) + min(len(validation), ROWS_AT_THE_END)

    def sample(model: PreTrainedModel) -> int:
        mean_loss(model, recipe.objective, validation, inputs.symbols, recipe.train, ROWS_ON_THE_WAY)
        return int(validation.lengths[_measured_on(validation, ROWS_ON_THE_WAY)].sum())

    return Evaluations(count, round(rows * validation.lengths.mean()), sample)


def _every(config: PretrainTrain, total: int) -> int:
    return config.eval_steps or max(1, total // 10)


def _tokens(
    folder: Path, path: Path, split: Split, recipe: Recipe, tokenizer: Any, sample_ratio: float = 1.0
) -> TokenFile:
    """The text as tokens, made once and kept in ``folder`` of the work folder: a run that goes on finds them there.

    Raises ``DataError`` where there is none: no step can be made of nothing, and its loss would be 0.
    """

    def write() -> None:
        if not folder.is_dir():
            texts = (text for text in read_texts(path, split) if is_chosen(text, sample_ratio))
            TokenFile.write(folder, texts, tokenizer, recipe.max_length, recipe.objective.layout)

    parallel.once(write)
    tokens = TokenFile.open(folder)
    if not len(tokens):
        share = f" in the share data.sample_ratio={sample_ratio} takes" if sample_ratio < 1 else ""
        raise DataError(f"{path}: holds no text{share}; name a file that does")
    recipe.objective.check_rows(tokens)
    return tokens


def _validation(recipe: Recipe, tokenizer: Any, work: Work) -> TokenFile | None:
    given = recipe.data.validation
    if given is None and (not is_bundle(recipe.data.train) or "validation" not in splits_of(recipe.data.train)):
        say("no validation text: only the training loss is measured")
        return None
    split: Split = "validation" if given is None or is_bundle(given) else "train"
    return _tokens(work.path / "tokens-validation", given or recipe.data.train, split, recipe, tokenizer)


def _train(recipe: Recipe, inputs: Inputs, course: Course, model: PreTrainedModel, work: Work) -> dict[str, Any]:
    config, train, validation, symbols = recipe.train, inputs.train, inputs.validation, inputs.symbols
    total, every = course.total, _every(config, course.total)
    scores: dict[str, Any] = {"unigram_entropy": train.unigram_entropy()}
    memory: dict[str, Any] = {}
    for step in fit(model, course, config, work, memory):
        if validation is not None and (step.number % every == 0 or step.number == total):
            rows = ROWS_AT_THE_END if step.number == total else ROWS_ON_THE_WAY
            memory["validation_loss"] = mean_loss(model, recipe.objective, validation, symbols, config, rows)
            work.log("evaluation", step=step.number, loss=memory["validation_loss"])
            say(f"step {step.number} of {total}: validation loss {memory['validation_loss']:.4f} nats")
    if "validation_loss" in memory:
        scores |= {"validation_loss": memory["validation_loss"]}
        gain = scores["unigram_entropy"] - memory["validation_loss"]
        say(
            f"unigram entropy {scores['unigram_entropy']:.3f} nats a token (the baseline); "
            f"the model is {gain:.3f} below"
        )
    return scores | {"steps": total}


def mean_loss(
    model: PreTrainedModel,
    objective: AnyObjective,
    tokens: TokenFile,
    symbols: Symbols,
    config: PretrainTrain,
    most: int,
) -> float:
    """Mean loss in nats per item over (at most ``most``) rows, with the same masks every time."""
    model.eval()
    place, dtype = next(model.parameters()).device, dtype_of(config.precision)
    chosen = _measured_on(tokens, most)
    totals: dict[str, float] = defaultdict(float)
    items: dict[str, int] = defaultdict(int)
    weights: dict[str, float] = {}
    for part in cut(tokens.lengths[chosen], config.tokens_per_batch):
        rows = chosen[part]
        batch = objective.collate([tokens[int(i)] for i in rows], row_seeds(0, 0, tokens.keys[rows]), symbols)
        with torch.inference_mode(), autocast(place, dtype):
            for name, total, count, weight in objective.loss(model, batch.to(place)):
                totals[name] += float(total)
                items[name] += count
                weights[name] = weight
    return sum(weights[name] * totals[name] / max(items[name], 1) for name in totals)


def _measured_on(tokens: TokenFile, most: int) -> Rows:
    rows: Rows = np.sort(permutation(len(tokens), "mean_loss")[:most])
    return rows
