"""Adoption: a Hugging Face folder becomes a bundle, if it opens without code or pickles and answers sanely."""

import re
import shutil
from collections.abc import Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, PretrainedConfig, PreTrainedTokenizerBase

from lathe.core.bundle import Bundle, Manifest, Runtime, is_bundle
from lathe.core.digest import files_below
from lathe.core.errors import BundleError
from lathe.core.recipe import dump, recipe
from lathe.core.report import say
from lathe.core.tagging import parse_tag
from lathe.core.work import Work, run_stage
from lathe.models.pretrained import (
    check_folder,
    language_model_class,
    longest_input,
    open_config,
    open_model,
    open_tokenizer,
    summary,
)
from lathe.tasks import AnyTask, Choose, Classify, MultiLabel, Score, Tag

COPIED = {".json", ".safetensors", ".txt", ".model", ".jinja", ".md", ".rst", ""}
"""Endings of data: weights, configuration, vocabulary, papers. What ends otherwise is code, a pickle, or a copy."""
_COPIES = {"onnx", "openvino", "coreml", "runs"}  # folders of the same model in another form, or of its training
_PROBE = "Lathe 1.0: 一段文字, a text."


@recipe
class Recipe:
    folder: Path
    """A model folder in Hugging Face's format, with safetensors and tokenizer.json."""


def run(recipe: Recipe, out: Path) -> Bundle:
    """Copy a model folder into a bundle; its task is read from its configuration."""
    if is_bundle(recipe.folder):
        raise BundleError(f"{recipe.folder}: is a bundle already; use it as it is")
    check_folder(recipe.folder)
    return run_stage("adopt", recipe, out, [recipe.folder], partial(_make, recipe.folder))


def _make(folder: Path, work: Work) -> Manifest:
    config, tokenizer = open_config(folder), open_tokenizer(folder)
    task = task_of(config, longest_input(tokenizer, config))
    verify(folder, task, tokenizer)
    left_out = copy(folder, work.result)
    if left_out:
        say(f"not copied, since nothing here reads it: {', '.join(left_out)}")
    check_folder(work.result)
    wanted = ("config.json", "tokenizer.json", "tokenizer_config.json")
    weights = sorted(file.name for file in work.result.glob("*.safetensors*"))
    needed = tuple(name for name in (*wanted, *weights) if (work.result / name).is_file())
    described = None if task is None else dump(task)
    return Manifest(kind="model", stage="adopt", task=described, runtime=Runtime(files=needed))


def copy(folder: Path, target: Path) -> list[str]:
    """Copy what belongs to the model; returns the names of what is left behind."""
    left_out = []
    for file in files_below(folder):
        name = file.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if hidden or _COPIES & set(name.parts[:-1]) or file.suffix.lower() not in COPIED:
            left_out.append(name.as_posix())
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target / name)
    return left_out


def task_of(config: PretrainedConfig, longest: int) -> AnyTask | None:
    """The task that a configuration tells of; where it tells of none, it is said why."""
    architecture = str((config.architectures or ["no architecture"])[0])
    if architecture.endswith("ForMultipleChoice"):
        return Choose(max_length=longest)
    outputs = [str(name) for _, name in sorted((config.id2label or {}).items())]
    if architecture.endswith("ForSequenceClassification"):
        task, lack = _of_texts(config, outputs, longest), "names that are not all different"
    elif architecture.endswith("ForTokenClassification"):
        task, lack = _tag(outputs, longest), "not O, B-x, I-x, B-y, I-y, ... in this order"
    else:
        say(f"{architecture} is of no task: adopted as a model to start from")
        return None
    shown = ", ".join(outputs[:9])
    if task is None:
        say(f"{architecture}: its outputs are {shown}: {lack}; adopted without a task, `lathe finetune` gives it one")
    elif any(re.fullmatch(r"(?:[BI]-)?LABEL_\d+", name) for name in outputs):
        way = "write the true names into id2label and label2id of config.json, and adopt it again"
        say(f"WARNING: the names of its labels were lost, the answers will be {shown}; {way}")
    return task


def _of_texts(config: PretrainedConfig, outputs: Sequence[str], longest: int) -> AnyTask | None:
    """What the outputs of a sequence-classification head mean: Hugging Face's rules for it."""
    problem = getattr(config, "problem_type", None)
    if len(set(outputs)) < len(outputs) or not outputs:
        return None
    if problem == "multi_label_classification":
        return MultiLabel(labels=tuple(outputs), max_length=longest)
    if len(outputs) == 1:
        return Score(mean=0.0, scale=1.0, max_length=longest)
    return None if problem == "regression" else Classify(labels=tuple(outputs), max_length=longest)


def _tag(outputs: Sequence[str], longest: int) -> AnyTask | None:
    labels = tag_labels(outputs)
    return Tag(labels=labels, max_length=longest) if labels else None


def tag_labels(outputs: Sequence[str]) -> tuple[str, ...] | None:
    """The labels of a BIO head, if its outputs stand in the order that the tagging task reads them in.

    >>> tag_labels(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])
    ('PER', 'LOC')
    """
    tags = [parse_tag(output) for output in outputs]
    labels = tuple(dict.fromkeys(tag.label for tag in tags if tag is not None and tag.label))
    return labels if labels and Tag(labels=labels).outputs == tuple(outputs) else None


def verify(folder: Path, task: AnyTask | None, tokenizer: PreTrainedTokenizerBase) -> None:
    """Open the model and run it once. Raises ``BundleError`` where its head is missing, or it gives no numbers."""
    opened = open_model(_class_of(folder) if task is None else task.auto_model, folder)
    way = "copy or download the folder again"
    if opened.new and task is not None:
        raise BundleError(f"{folder}: the weights of {summary(opened.new)} are not in the folder; {way}")
    if opened.new:
        say(f"not in the folder, drawn anew where they are needed: {summary(opened.new)}")
    encoded: Any = tokenizer(_PROBE, return_tensors="pt", return_token_type_ids=False)
    if "decoder_input_ids" in signature(opened.model.forward).parameters:
        encoded["decoder_input_ids"] = encoded["input_ids"]
    if isinstance(task, Choose):
        encoded = {name: tensor[:, None] for name, tensor in encoded.items()}  # one choice
    with torch.inference_mode():
        outputs = opened.model.eval()(**encoded)
    if not torch.isfinite(outputs[0]).all():
        raise BundleError(f"{folder}: the model gives NaN or infinity, so its weights are damaged; {way}")


def _class_of(folder: Path) -> Any:
    """Of a model to start from: the body, or the whole where it has none."""
    return AutoModel if type(open_config(folder)) in AutoModel._model_mapping else language_model_class(folder)
