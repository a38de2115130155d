"""From a bundle to a predictor: the one place that knows tasks, models and runtimes."""

from pathlib import Path

from lathe.core.bundle import Bundle
from lathe.core.errors import BundleError
from lathe.core.predictor import TaskPredictor
from lathe.core.recipe import parse
from lathe.core.runtime import Precision, set_up
from lathe.core.types import Forward
from lathe.models.pretrained import open_model, open_tokenizer
from lathe.runtimes.eager import torch_forward
from lathe.runtimes.onnx import GRAPH, each_row, onnx_forward
from lathe.tasks import AnyTask


def load(path: str | Path, precision: Precision = "fp32") -> TaskPredictor:
    """Open a finished model: a function from rows to predictions.

    Every file is compared with its digest first. ``precision`` is for the torch runtime; others have their own.
    Raises ``BundleError`` where the folder is no model with a task.

    >>> model = load("runs/reviews")                       # doctest: +SKIP
    >>> model(["great film", {"text": "awful plot"}])      # doctest: +SKIP
    """
    bundle = Bundle.open(Path(path), kind="model")
    task = task_of(bundle)
    bundle.verify()
    set_up()
    return TaskPredictor(task, open_tokenizer(bundle.path), _forward(bundle, task, precision))


def task_of(bundle: Bundle) -> AnyTask:
    """The task a model was trained for, with its labels."""
    if bundle.manifest.task is None:
        raise BundleError(f"{bundle.path}: a language model without a task; make it answer with `lathe finetune`")
    task: AnyTask = parse(AnyTask, bundle.manifest.task)
    return task


def _forward(bundle: Bundle, task: AnyTask, precision: Precision) -> Forward:
    runtime = bundle.manifest.runtime
    if runtime is None:
        raise BundleError(f"{bundle.path}: the manifest names no runtime")
    if runtime.kind == "onnx":
        return each_row(onnx_forward(bundle.path / GRAPH))
    return torch_forward(open_model(task.auto_model, bundle.path).model, precision)
