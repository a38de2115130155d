"""From a bundle to a predictor: the one place that knows tasks, language models and runtimes."""

from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM

from lathe.core import calibration
from lathe.core.bundle import Bundle
from lathe.core.errors import BundleError, RecipeError
from lathe.core.predictor import TaskPredictor
from lathe.core.recipe import parse
from lathe.core.runtime import Precision, set_up
from lathe.core.types import Forward
from lathe.likelihood import MaskedNetwork, open_language_model
from lathe.likelihood.fill import Fill, filler
from lathe.likelihood.predictor import Weigh, text_scorer
from lathe.models.pretrained import (
    language_model_class,
    longest_input,
    open_config,
    open_model,
    open_tokenizer,
    summary,
)
from lathe.runtimes.onnx import GRAPH, each_row, onnx_forward
from lathe.tasks import AnyTask
from lathe.tasks.forward import task_forward


def load(path: str | Path, precision: Precision = "fp32") -> TaskPredictor:
    """Open a finished model: a function from rows to predictions.

    A language model without a task fills masks, or says how likely a text is. Every file is compared with its digest
    first. ``precision`` is for the torch runtime; others have their own. Raises ``BundleError`` for any other folder.

    >>> model = load("runs/reviews")                       # doctest: +SKIP
    >>> model(["great film", {"text": "awful plot"}])      # doctest: +SKIP
    >>> model.confident(["great film"])[0].confidence      # doctest: +SKIP
    """
    bundle = Bundle.open(Path(path), kind="model")
    if bundle.manifest.task is None:
        return _language_model(bundle, precision)
    task = task_of(bundle)
    bundle.verify()
    set_up()
    tokenizer = open_tokenizer(bundle.path)
    _check_task(bundle, task, tokenizer)
    forward = _forward(bundle, task, tokenizer, precision)
    return TaskPredictor(task, tokenizer, forward, calibration=calibration.read(bundle.path))


def asked_of(bundle: Bundle) -> AnyTask | Fill | Weigh:
    """The task of a model, or what a language model answers by itself; no weights are opened."""
    runtime = bundle.manifest.runtime
    if runtime is not None and runtime.kind in ("ngram", "mixture"):
        return Weigh()
    if bundle.manifest.task is not None or runtime is None or runtime.kind != "torch":
        return task_of(bundle)
    auto_model = language_model_class(bundle.path)
    if auto_model is Fill.auto_model:
        tokenizer, config = open_tokenizer(bundle.path), open_config(bundle.path)
        return Fill.of(tokenizer, longest_input(tokenizer, config))
    if auto_model is AutoModelForCausalLM:
        return Weigh()
    raise BundleError(f"{bundle.path}: writes one text from another: make it write with `lathe generate`")


def _language_model(bundle: Bundle, precision: Precision) -> TaskPredictor:
    asked_of(bundle)  # which is refused in words of its own
    model = open_language_model(bundle.path, precision=precision)
    return filler(model) if isinstance(model, MaskedNetwork) else text_scorer(model)


def task_of(bundle: Bundle) -> AnyTask:
    """The task a model was trained for, with its labels."""
    if bundle.manifest.task is None:
        raise BundleError(
            f"{bundle.path}: a language model without a task; score it with `lathe perplexity`, ask it with `lathe "
            "predict`, give it a task with `lathe finetune`, or, where it writes, open it with lathe.load_generator"
        )
    try:
        task: AnyTask = parse(AnyTask, bundle.manifest.task)
    except RecipeError as error:
        raise BundleError(f"{bundle.path}: the manifest's task is broken: {error}") from None
    return task


def _check_task(bundle: Bundle, task: AnyTask, tokenizer: Any) -> None:
    """The manifest and the model's own configuration must tell the same: a label in a wrong place is a wrong answer."""
    config = open_config(bundle.path)
    named = tuple(name for _, name in sorted((config.id2label or {}).items()))
    differs = named != task.outputs if task.labels else len(named) != len(task.outputs)  # a number has any name
    if len(task.labels or ()) < task.least_labels or (task.outputs and differs):
        raise BundleError(f"{bundle.path}: the manifest names the outputs {task.outputs}, config.json {named}")
    if task.max_length is None or task.max_length > longest_input(tokenizer, config):
        raise BundleError(f"{bundle.path}: max_length {task.max_length} is not what this model takes")


def _forward(bundle: Bundle, task: AnyTask, tokenizer: Any, precision: Precision) -> Forward:
    runtime = bundle.manifest.runtime
    if runtime is None:
        raise BundleError(f"{bundle.path}: the manifest names no runtime")
    if runtime.kind == "onnx":
        return each_row(onnx_forward(bundle.path / GRAPH))
    opened = open_model(task.auto_model, bundle.path)
    if opened.new:
        raise BundleError(f"{bundle.path}: the weights of {summary(opened.new)} are missing")
    return task_forward(task, opened.model, tokenizer, precision)
