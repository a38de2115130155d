"""Pretraining: text in, a language model out, from scratch or continued."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field
from transformers import PretrainedConfig, PreTrainedModel

from lathe.core import parallel, runtime
from lathe.core.batches import refuse_sizes
from lathe.core.bundle import Bundle, Manifest
from lathe.core.errors import RecipeError
from lathe.core.fit import Course, fit, settled
from lathe.core.ready import Evaluations, Ready, evaluation_steps
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.tokens import TokenFile
from lathe.core.types import Symbols
from lathe.core.work import Work, read_log, run_together
from lathe.models import AnyModel, Bert
from lathe.models.pretrained import (
    check_folder,
    longest_input,
    new_model,
    open_config,
    open_model,
    open_tokenizer,
    refuse_other_vocabulary,
    save_model,
)
from lathe.models.vocabulary import exchange_tokens, transfer
from lathe.objectives import AnyObjective, MaskedLM
from lathe.pretrain.course import Laid, PretrainTrain, lay
from lathe.pretrain.evaluation import (
    ROWS_AT_THE_END,
    ROWS_ON_THE_WAY,
    VALIDATION,
    HeldOut,
    mean_losses,
    scores_of,
    told,
    verdicts,
)
from lathe.pretrain.report import NAME, Run, report
from lathe.pretrain.samples import samples
from lathe.pretrain.texts import Data, Texts


@recipe
class Recipe:
    data: Data
    """The text."""
    tokenizer: Path | None = None
    """Folder of the tokenizer of a new model. With ``base``: another one for it, whose pieces begin as those it had."""
    base: Path | None = None
    """Folder of the model to go on from, with its own tokenizer; without it a new one is made."""
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
    data = recipe.data
    inputs = [data.train, data.validation, data.replay, data.old_validation, recipe.tokenizer, recipe.base]
    return run_together("pretrain", recipe, out, inputs, partial(_make, recipe))


@dataclass(frozen=True)
class Inputs:
    """What the files of a recipe hold."""

    tokenizer: Any
    shape: PretrainedConfig
    train: TokenFile
    laid: Laid
    held_out: tuple[HeldOut, ...]

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
    named = f"{inputs.shape.model_type}, {model.num_parameters():,} parameters,"
    about = Run(named, f"{recipe.objective.kind} language modelling", scores, read_log(work.path))
    (work.result / NAME).write_text(report(about), encoding="utf-8")
    return Manifest(
        kind="model", stage="pretrain", scores=scores, runtime=saved, preprocessing={"max_length": recipe.max_length}
    )


def opened(recipe: Recipe) -> tuple[Any, PretrainedConfig]:
    """The tokenizer and the shape of the model, which suit each other and the objective."""
    _check_origin(recipe)
    runtime.set_up()
    tokenizer = open_tokenizer(recipe.tokenizer or recipe.base or Path())
    recipe.objective.prepare_tokenizer(tokenizer, recipe.max_length, is_new=recipe.tokenizer is not None)
    if recipe.base:
        check_folder(recipe.base)
    shape = open_config(recipe.base) if recipe.base else recipe.model.config(tokenizer)
    if recipe.base and recipe.tokenizer:
        exchange_tokens(shape, open_tokenizer(recipe.base), tokenizer)
    if recipe.max_length > (longest := longest_input(tokenizer, shape, limit=1 << 30)):
        raise RecipeError(f"max_length: {recipe.max_length} is more than this model takes ({longest})")
    recipe.objective.check_model(shape, Symbols.of(tokenizer))
    refuse_other_vocabulary(tokenizer, shape, recipe.tokenizer or recipe.base)
    return tokenizer, shape


def _read(recipe: Recipe, work: Work) -> Inputs:
    tokenizer, shape = opened(recipe)
    texts = Texts(recipe.data, recipe.objective, tokenizer, recipe.max_length, work)
    train = texts.train(recipe.max_length)
    _refuse_little(recipe, train)
    laid = lay(texts.learnt, recipe.max_length, recipe.train)
    for size in recipe.train.step_sizes:
        refuse_sizes(laid.source.lengths, size, recipe.train.tokens_per_batch, parallel.ranks().size)
    return Inputs(tokenizer, shape, train, laid, texts.held_out())


def _refuse_little(recipe: Recipe, train: TokenFile) -> None:
    tokens, wanted = int(train.lengths.sum()), recipe.train.tokens_per_step
    if tokens < wanted:
        raise RecipeError(
            f"data.train: {recipe.data.train} has {tokens:,} tokens, and one step takes {wanted:,}: give more text, or "
            f"lower train.tokens_per_step to {tokens // 8 or 1} or so"
        )


def _check_origin(recipe: Recipe) -> None:
    if recipe.base is None and recipe.tokenizer is None:
        raise RecipeError(
            "give `base` (go on from a model), `tokenizer` (a new model), or both (its tokenizer changes)"
        )


def _ready(recipe: Recipe, inputs: Inputs) -> Ready:
    auto_model, seed = recipe.objective.auto_model, recipe.train.seed

    def build() -> PreTrainedModel:
        if recipe.base is None:
            return new_model(auto_model, inputs.shape, seed)
        model = open_model(auto_model, recipe.base, seed=seed).model
        if recipe.tokenizer:
            made = transfer(model, open_tokenizer(recipe.base), inputs.tokenizer)
            say(
                f"{len(inputs.tokenizer):,} pieces: {made.copied:,} of the old tokenizer, {made.joined:,} made of its "
                f"pieces, {made.unknown:,} of text that it does not know"
            )
        return model

    course = _course(recipe, inputs)
    return Ready(auto_model, inputs.shape, build, course, recipe.train, _evaluations(recipe, inputs, course.total))


def _course(recipe: Recipe, inputs: Inputs) -> Course:
    source, plan, total = inputs.laid
    return Course(recipe.objective, source, inputs.symbols, plan, total)


def _evaluations(recipe: Recipe, inputs: Inputs, total: int) -> Evaluations | None:
    held_out, config = inputs.held_out, recipe.train
    if not held_out:
        return None
    on_the_way, whole = evaluation_steps(total, _every(config, total)) - 1, 2 if recipe.base else 1
    tokens = on_the_way * _held_out_tokens(held_out, ROWS_ON_THE_WAY) + whole * _held_out_tokens(
        held_out, ROWS_AT_THE_END
    )

    def sample(model: PreTrainedModel) -> int:
        mean_losses(model, recipe.objective, held_out, inputs.symbols, config, ROWS_ON_THE_WAY)
        return _held_out_tokens(held_out, ROWS_ON_THE_WAY)

    return Evaluations(on_the_way + whole, tokens, sample)


def _held_out_tokens(held_out: Sequence[HeldOut], most: int) -> int:
    return sum(int(one.tokens.lengths[one.rows(most)].sum()) for one in held_out)


def _every(config: PretrainTrain, total: int) -> int:
    return config.eval_steps or max(1, total // 10)


def _train(recipe: Recipe, inputs: Inputs, course: Course, model: PreTrainedModel, work: Work) -> dict[str, Any]:
    config, total, every = recipe.train, course.total, _every(recipe.train, course.total)
    memory: dict[str, Any] = {}
    measure = partial(_measure, recipe, inputs, model, work)
    before: dict[str, float] = {}
    if recipe.base and inputs.held_out and parallel.leads():
        before = json.loads(work.settle("before", lambda: json.dumps(measure(0, ROWS_AT_THE_END))))
    for step in fit(model, course, config, work, memory):
        if inputs.held_out and (step.number % every == 0 or step.number == total):
            memory |= measure(step.number, ROWS_AT_THE_END if step.number == total else ROWS_ON_THE_WAY)
    baseline = {"unigram_entropy": inputs.train.unigram_entropy()} if recipe.objective.predicts_tokens else {}
    scores = baseline | scores_of(inputs.held_out, before, memory)
    for line in verdicts(scores):
        say(line)
    return scores | {"steps": total}


def _measure(
    recipe: Recipe, inputs: Inputs, model: PreTrainedModel, work: Work, step: int, rows: int
) -> dict[str, float]:
    losses = mean_losses(model, recipe.objective, inputs.held_out, inputs.symbols, recipe.train, rows)
    work.log("evaluation", step=step, **{name.removeprefix(f"{VALIDATION}_"): loss for name, loss in losses.items()})
    say(f"step {step} of {inputs.laid.total}: {', '.join(told(losses))}")
    if recipe.objective.kind == "causal":
        written = samples(model, inputs.tokenizer, inputs.held_out, recipe.train.precision)
        work.log("samples", step=step, samples=written)
    return losses
