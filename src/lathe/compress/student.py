"""The smaller model, before it has learnt from its teacher."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from lathe.core.errors import RecipeError
from lathe.core.recipe import recipe
from lathe.models import AnyModel, Bert
from lathe.models.pretrained import new_model, open_config, open_model, open_tokenizer
from lathe.tasks import AnyTask


@recipe
class Layers:
    """The teacher itself with some of its layers, evenly spaced, first and last included (after Sanh et al., 2019)."""

    kind: Literal["layers"] = "layers"
    layers: int | None = Field(None, ge=1)
    """How many are kept; half of them where not given."""

    def config(self, teacher: Path, tokenizer: Any) -> PretrainedConfig:
        found = open_config(teacher)
        if self.layers is not None and self.layers > found.num_hidden_layers:
            raise RecipeError(f"student.layers: {self.layers} is more than the teacher has ({found.num_hidden_layers})")
        return found

    def make(self, teacher: Path, task: AnyTask, tokenizer: Any, seed: int) -> PreTrainedModel:
        return keep_layers(open_model(task.auto_model, teacher).model, self.layers)


@recipe
class Base:
    """Another pretrained model with the teacher's tokenizer."""

    kind: Literal["base"] = "base"
    path: Path
    """Folder of the model: a bundle, or any Hugging Face folder with safetensors."""

    def config(self, teacher: Path, tokenizer: Any) -> PretrainedConfig:
        return open_config(self.path)

    def make(self, teacher: Path, task: AnyTask, tokenizer: Any, seed: int) -> PreTrainedModel:
        return open_model(task.auto_model, self.path, task.outputs, seed).model


@recipe
class New:
    """A new model of any shape, with the teacher's tokenizer."""

    kind: Literal["new"] = "new"
    model: AnyModel = Bert()
    """Its shape."""

    def config(self, teacher: Path, tokenizer: Any) -> PretrainedConfig:
        return self.model.config(tokenizer)

    def make(self, teacher: Path, task: AnyTask, tokenizer: Any, seed: int) -> PreTrainedModel:
        config = self.config(teacher, tokenizer)
        config.id2label = dict(enumerate(task.outputs))
        config.label2id = {name: index for index, name in enumerate(task.outputs)}
        return new_model(task.auto_model, config, seed)


AnyStudent = Annotated[Layers | Base | New, Field(discriminator="kind")]


def keep_layers(model: PreTrainedModel, count: int | None) -> PreTrainedModel:
    """``model`` with ``count`` of its layers (half of them for None), in place; its configuration says so."""
    total = model.config.num_hidden_layers
    count = count or max(1, total // 2)
    name, stack = _layer_stack(model)
    chosen = evenly_spaced(total, count)
    kept = nn.ModuleList(stack[i] for i in chosen)
    for index, layer in enumerate(kept):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = index  # type: ignore[assignment]
    model.set_submodule(name, kept)
    model.config.num_hidden_layers = count
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = [model.config.layer_types[i] for i in chosen]
    return model


def evenly_spaced(total: int, count: int) -> list[int]:
    """``count`` of ``range(total)`` with both ends.

    >>> evenly_spaced(12, 4), evenly_spaced(6, 1)
    ([0, 4, 7, 11], [0])
    """
    return [int(i) for i in np.linspace(0, total - 1, count).round()]


def check_same_tokens(teacher: Any, student: Path, texts: Sequence[str]) -> None:
    """Soft targets are given for the teacher's tokens; raises ``RecipeError`` where the student would have others."""
    other = open_tokenizer(student)
    way = "choose a base with the teacher's tokenizer, or student.kind=layers or new, which take it over"
    if other.get_vocab() != teacher.get_vocab():
        sizes = f"{len(other):,} tokens, the teacher {len(teacher):,}"
        raise RecipeError(f"student.path: {student}: has another vocabulary than the teacher ({sizes}); {way}")
    own, theirs = (tokenizer(list(texts), split_special_tokens=True)["input_ids"] for tokenizer in (teacher, other))
    if text := next((text for text, a, b in zip(texts, own, theirs, strict=True) if a != b), None):
        raise RecipeError(f"student.path: {student}: cuts {text[:80]!r} into other tokens than the teacher; {way}")


def _layer_stack(model: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    total = model.config.num_hidden_layers
    stacks = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == total]
    outer = [(name, m) for name, m in stacks if not any(name.startswith(f"{other}.") for other, _ in stacks)]
    if len(outer) != 1:
        raise RecipeError(
            f"student.kind: models of type {model.config.model_type!r} have no single stack of layers to choose from; "
            "take student.kind=base or new"
        )
    return outer[0]
