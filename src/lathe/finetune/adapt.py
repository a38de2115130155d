"""Ways of adapting a model to a task: all of its weights, some of them, or few new ones beside them.

Adapters are peft's, put into the model in place: it stays the transformers model that it was, trains packed, and is
saved and resumed like any other. At the end they are merged into its weights, and nobody needs to know of them.
"""

import copy
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lathe.core.errors import LatheError, RecipeError
from lathe.core.fit import plain
from lathe.core.keyed import scalar_seed
from lathe.core.layers import places
from lathe.core.packing import stacks
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.models.pretrained import Opened, head_modules

ADAPTER = "adapter"
"""Folder in a bundle: the adapter as peft saves it."""
EXACT = 1e-5
"""Largest difference between outputs with adapters and merged, relative to the largest output, in float32."""


@dataclass(frozen=True)
class Adapted:
    """A model that is ready to be trained."""

    model: PreTrainedModel
    peft: Any = None  # the same model as a `PeftModel`, where it has adapters

    def merged(self, inputs: Mapping[str, Tensor]) -> PreTrainedModel:
        """The standard model that computes the same: a copy where there are adapters, which it has in its weights.

        Raises ``LatheError`` where it does not compute the same for ``inputs``.
        """
        if self.peft is None:
            return self.model
        plain(self.model)
        merged: PreTrainedModel = copy.deepcopy(self.peft).merge_and_unload()
        ours, theirs = _outputs(self.model, inputs), _outputs(merged, inputs)
        apart = float((ours - theirs).abs().max() / ours.abs().max().clamp(min=1))
        if not apart <= EXACT:
            raise LatheError(
                f"merging the adapter changes outputs by {apart:.2g} of the largest one, more than {EXACT}: training "
                "has diverged; lower train.learning_rate"
            )
        say(f"adapter merged: outputs differ by {apart:.1g} of the largest one")
        return merged

    def save_adapter(self, folder: Path) -> None:
        """Write what peft opens on top of the base model: safetensors and JSON, the task's head among them."""
        self.peft.save_pretrained(folder, save_embedding_layers=False)


def _outputs(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.eval()(**inputs)[0].float()
    return found


@recipe
class Full:
    """Every weight is trained."""

    kind: Literal["full"] = "full"

    def __call__(self, opened: Opened, seed: int) -> Adapted:
        return Adapted(opened.model)


@recipe
class Freeze:
    """The lower part of the model stays as it is."""

    kind: Literal["freeze"] = "freeze"
    embeddings: bool = True
    """Freeze the embeddings, and all else that comes before the layers."""
    layers: int = Field(0, ge=0)
    """Freeze so many layers, from the lowest; of an encoder-decoder in both."""

    def __call__(self, opened: Opened, seed: int) -> Adapted:
        found = places(opened.model)
        there = max(place.layers for place in found.values())
        if self.layers > there:
            raise RecipeError(f"adapt.layers: {self.layers} are to be frozen, and the model has {there}")
        for parameter, place in found.items():
            parameter.requires_grad_(place.layer > self.layers or (place.layer == 0 and not self.embeddings))
        _train(opened.model, head_modules(opened))
        return Adapted(opened.model)


@recipe
class BitFit:
    """Biases alone are trained (Ben Zaken et al., 2022), and the task's head."""

    kind: Literal["bitfit"] = "bitfit"

    def __call__(self, opened: Opened, seed: int) -> Adapted:
        for name, parameter in opened.model.named_parameters():
            parameter.requires_grad_(name.rpartition(".")[2] == "bias")
        if not any(parameter.requires_grad for parameter in opened.model.base_model.parameters()):
            family = opened.model.config.model_type
            raise RecipeError(f"adapt.kind=bitfit: models of type {family!r} have no biases; take lora")
        _train(opened.model, head_modules(opened))
        return Adapted(opened.model)


@recipe
class _Adapter:
    """What every adapter of peft's can be told."""

    keep_adapter: bool = False
    """Save the adapter beside the merged model, too, as peft opens it on top of the base: folder adapter."""


@recipe
class Lora(_Adapter):
    """Low-rank updates beside frozen matrices (Hu et al., 2022): W x + (lora_alpha / r) B A x, B = 0 at first."""

    kind: Literal["lora"] = "lora"
    r: int = Field(8, ge=1)
    """Rank of the updates."""
    lora_alpha: int = Field(16, ge=1)
    """Updates are scaled by lora_alpha / r."""
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    """Of what goes into A."""
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Modules that get an update, by the ends of their names; all-linear: every linear one in the layers."""

    def __call__(self, opened: Opened, seed: int) -> Adapted:
        named = self.target_modules
        targets = _linear(opened.model) if named == "all-linear" else named
        sizes = {"r": self.r, "lora_alpha": self.lora_alpha, "lora_dropout": self.lora_dropout}
        return _put_in(opened, seed, _peft().LoraConfig, target_modules=targets, **sizes)


@recipe
class IA3(_Adapter):
    """One factor for each output of keys and values and each input of the feed-forward part (Liu et al., 2022).

    1 at first; the weights stay frozen.
    """

    kind: Literal["ia3"] = "ia3"
    target_modules: tuple[str, ...] | None = None
    """Modules that get factors, by the ends of their names; without it those that peft knows for the family."""
    feedforward_modules: tuple[str, ...] | None = None
    """Those of them whose inputs get the factors, not their outputs."""

    def __call__(self, opened: Opened, seed: int) -> Adapted:
        known, family = _peft().utils, opened.model.config.model_type
        targets, inputs = self.target_modules, self.feedforward_modules
        if targets is None:
            targets = known.TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING.get(family, ())
            inputs = known.TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING.get(family, ())
        return _put_in(opened, seed, _peft().IA3Config, target_modules=targets, feedforward_modules=list(inputs or ()))


AnyAdaptation = Annotated[Full | Freeze | BitFit | Lora | IA3, Field(discriminator="kind")]


def check(adaptation: AnyAdaptation, shape: PretrainedConfig, is_new: bool) -> None:
    """What can be refused before a model is loaded: a missing library, weights that an adapter cannot be merged into.

    Raises ``LatheError`` or ``RecipeError``.
    """
    if is_new and not isinstance(adaptation, Full):
        raise RecipeError(
            f"adapt.kind={adaptation.kind}: a new model has nothing to keep; give `base`, or train all of it"
        )
    if isinstance(adaptation, _Adapter):
        _peft()
        if getattr(shape, "quantization_config", None) is not None:
            raise RecipeError(
                "adapt: the base is quantized, and an adapter that is merged into it would be rounded away in part; "
                "take the base in full precision"
            )


def told(model: PreTrainedModel) -> str:
    """How many parameters there are, and how many are trained."""
    count, trained = model.num_parameters(), model.num_parameters(only_trainable=True)
    return f"{count:,} parameters" + (f", {trained:,} of them trained" if trained < count else "")


def _peft() -> Any:
    try:
        import peft  # seconds
    except ImportError as error:
        raise LatheError(f"adapters need {error.name}: pip install 'lathe[adapters]'") from None
    return peft


def _put_in(opened: Opened, seed: int, config: Any, target_modules: Sequence[str], **options: Any) -> Adapted:
    """Put adapters into the model; all else is frozen, but the head and what is drawn anew."""
    model, linear = opened.model, _linear(opened.model)
    unknown = [name for name in target_modules if not any(f".{at}".endswith(f".{name}") for at in linear)]
    if unknown or not target_modules:
        asked = f"{', '.join(unknown)}: no linear module in the layers is called so" if unknown else "name some"
        ends = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
        raise RecipeError(f"adapt.target_modules: {asked}; there are {ends or 'none'}")
    torch.manual_seed(scalar_seed("adapter", seed))
    made = config(target_modules=list(target_modules), modules_to_save=head_modules(opened), **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old name whether layers recompute
        return Adapted(model, _peft().get_peft_model(model, made))


def _linear(model: PreTrainedModel) -> list[str]:
    """Names of the linear modules in the layers."""
    inside = {id(module) for _, stack in stacks(model) for module in stack.modules()}
    return [name for name, m in model.named_modules() if id(m) in inside and isinstance(m, nn.Linear | Conv1D)]


def _train(model: PreTrainedModel, names: Iterable[str]) -> None:
    for name in names:
        model.get_submodule(name).requires_grad_(True)
