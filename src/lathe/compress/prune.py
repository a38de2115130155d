"""Pruning: whole layers, attention heads and neurons go, and the rows and columns of the matrices with them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from lathe.compress.candidate import Candidate, Splits, saved
from lathe.compress.importance import AnyImportance, Asking, Importance, Taylor
from lathe.compress.report import is_labelled
from lathe.core.errors import RecipeError
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.types import Symbols
from lathe.core.work import Work
from lathe.models.pretrained import open_config, open_model
from lathe.models.shapes import describe, keep_layers, layers_of, refuse_other_family
from lathe.tasks import AnyTask

BLOCK = 16
"""Neurons stay and go in blocks of this many: what other widths would save, kernels spend again."""

Among: TypeAlias = Literal["model", "layer"]


@recipe
class Prune:
    """Take out the layers, attention heads and neurons that a model can best do without; nothing is trained.

    What is left answers worse. A step ``distill`` behind this one, with ``student.kind=given``, wins most of it back.
    """

    kind: Literal["prune"] = "prune"
    layers: float = Field(1.0, gt=0, le=1)
    """Share of the layers that stay."""
    heads: float = Field(0.5, gt=0, le=1)
    """Share of the attention heads of these layers that stay, at least one in each."""
    neurons: float = Field(0.5, gt=0, le=1)
    """Share of the neurons of their feed-forward parts that stay, in blocks of 16."""
    importance: AnyImportance = Taylor()
    """What goes first: what matters least by this."""
    among: Among = "model"
    """Whether heads and neurons compete in the whole model, or in each layer, so that all keep as many."""

    def check(self, teacher: Path, tokenizer: Any, splits: Splits, task: AnyTask) -> None:
        """What can be known to be wrong before a model is loaded."""
        refuse_other_family(open_config(teacher), "distil into a smaller student instead (steps: distill)")
        if isinstance(self.importance, Asking) and not is_labelled(splits.get("train")):
            raise RecipeError(
                f"importance: {self.importance.kind} asks labelled rows of data.train, and there are none; "
                "importance=magnitude reads the weights alone"
            )

    def __call__(self, given: Candidate, teacher: Candidate, work: Work, folder: Path) -> Candidate:
        """``given`` without its least important parts, saved in ``folder``."""
        task, tokenizer = given.predictor.task, given.predictor.tokenizer
        model = open_model(task.auto_model, given.folder).model
        before = model.num_parameters()
        found = self.importance(model, given.splits, task, Symbols.of(tokenizer))
        kept = self.cut(model, found)
        heads, neurons = zip(*((layer.heads, layer.neurons) for layer in layers_of(model)), strict=True)
        say(f"pruned by {self.importance.kind}: {before:,} -> {model.num_parameters():,} parameters")
        for number, *sizes in zip(kept, heads, neurons, strict=True):
            say(f"  layer {number + 1}: {sizes[0]} heads, {sizes[1]} neurons")
        notes = {"layers": [number + 1 for number in kept], "heads": heads, "neurons": neurons}
        return saved("prune", model, given, folder, notes | {"parameters": model.num_parameters()})

    def cut(self, model: PreTrainedModel, found: Importance) -> list[int]:
        """Take the parts out of ``model``; returns the layers that stay, by their numbers from 0."""
        layers = layers_of(model)
        first = 1 if layers[0].family.begins else 0
        count = max(1, round(self.layers * len(layers)))
        kept = sorted([*range(first), *(first + best(found.layers[first:], count - first)).tolist()])
        if len(kept) < len(layers):
            keep_layers(model, kept)
        heads = chosen([found.heads[i] for i in kept], self.heads, self.among)
        neurons = chosen([found.neurons[i] for i in kept], self.neurons, self.among, BLOCK)
        for layer, some_heads, some_neurons in zip(layers_of(model), heads, neurons, strict=True):
            layer.keep_heads(some_heads)
            layer.keep_neurons(some_neurons)
        describe(model)
        return kept


def best(scores: Tensor, count: int) -> Tensor:
    """Places of the ``count`` highest scores, in order; of equal ones the first.

    >>> best(torch.tensor([0.1, 0.9, 0.5, 0.9]), 2)
    tensor([1, 3])
    """
    return scores.argsort(descending=True, stable=True)[:count].sort().values


def chosen(scores: Sequence[Tensor], share: float, among: Among, size: int = 1) -> list[list[int]]:
    """Of each layer the units that stay, in blocks of ``size``, and at least its best block.

    A block holds units that follow one another in the ranking of their layer; blocks compete by their mean.

    >>> chosen([torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])], 0.5, "model")
    [[1], [1]]
    >>> chosen([torch.tensor([1.0, 2.0, 0.0, 0.1]), torch.tensor([3.0, 4.0, 5.0, 6.0])], 0.5, "model")
    [[1], [1, 2, 3]]
    """
    ranked = [layer.sort(descending=True).values.split(size) for layer in scores]
    blocks = [torch.tensor([torch.inf, *(float(block.mean()) for block in layer[1:])]) for layer in ranked]
    if among == "layer":
        counts = [max(1, round(share * len(layer))) for layer in blocks]
    else:
        every = torch.cat(blocks)
        stays = torch.zeros(len(every), dtype=torch.bool)
        stays[best(every, max(len(scores), round(share * len(every))))] = True
        counts = [int(part.sum()) for part in stays.split([*map(len, blocks)])]
    return [best(layer, size * count).tolist() for layer, count in zip(scores, counts, strict=True)]
