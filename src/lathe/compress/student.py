"""The smaller model, before it has learnt from its teacher."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from transformers import PretrainedConfig, PreTrainedModel

from lathe.core.errors import RecipeError
from lathe.core.recipe import recipe
from lathe.models import AnyModel, Bert, shapes
from lathe.models.pretrained import new_model, open_config, open_model, open_tokenizer
from lathe.tasks import AnyTask


@recipe
class Layers:
    """The given model with some of its layers, evenly spaced, first and last included (after Sanh et al., 2019)."""

    kind: Literal["layers"] = "layers"
    layers: int | None = Field(None, ge=1)
    """How many are kept; half of them where not given."""

    def config(self, teacher: Path, tokenizer: Any) -> PretrainedConfig:
        found = open_config(teacher)
        if self.layers is not None and self.layers > found.num_hidden_layers:
            raise RecipeError(f"student.layers: {self.layers} is more than the teacher has ({found.num_hidden_layers})")
        return found

    def make(self, given: Path, task: AnyTask, tokenizer: Any, seed: int) -> PreTrainedModel:
        model = open_model(task.auto_model, given).model
        found = model.config.num_hidden_layers
        if self.layers is not None and self.layers > found:
            raise RecipeError(f"student.layers: {self.layers} is more than the step before has left ({found})")
        return keep_layers(model, self.layers)


@recipe
class Given:
    """The model that the step before has made smaller: it learns again what it lost."""

    kind: Literal["given"] = "given"

    def config(self, teacher: Path, tokenizer: Any) -> PretrainedConfig:
        return open_config(teacher)

    def make(self, given: Path, task: AnyTask, tokenizer: Any, seed: int) -> PreTrainedModel:
        return open_model(task.auto_model, given).model


@recipe
class Base:
    """Another pretrained model with the teacher's tokenizer."""

    kind: Literal["base"] = "base"
    path: Path
    """Folder of the model: a bundle, or any Hugging Face folder with safetensors."""

    def config(self, teacher: Path, tokenizer: Any) -> PretrainedConfig:
        return open_config(self.path)

    def make(self, given: Path, task: AnyTask, tokenizer: Any, seed: int) -> PreTrainedModel:
        return open_model(task.auto_model, self.path, task.outputs, seed).model


@recipe
class New:
    """A new model of any shape, with the teacher's tokenizer."""

    kind: Literal["new"] = "new"
    model: AnyModel = Bert()
    """Its shape."""

    def config(self, teacher: Path, tokenizer: Any) -> PretrainedConfig:
        return self.model.config(tokenizer)

    def make(self, given: Path, task: AnyTask, tokenizer: Any, seed: int) -> PreTrainedModel:
        config = self.config(given, tokenizer)
        config.id2label = dict(enumerate(task.outputs))
        config.label2id = {name: index for index, name in enumerate(task.outputs)}
        return new_model(task.auto_model, config, seed)


AnyStudent = Annotated[Layers | Given | Base | New, Field(discriminator="kind")]


def keep_layers(model: PreTrainedModel, count: int | None) -> PreTrainedModel:
    """``model`` with ``count`` of its layers (half of them for None), in place; its configuration says so."""
    total = model.config.num_hidden_layers
    shapes.keep_layers(model, evenly_spaced(total, count or max(1, total // 2)))
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
