"""What a fine-tuned model begins as: one that was trained before, or a new one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from lathe.core.data import Table
from lathe.core.errors import RecipeError
from lathe.core.types import Encoded, Symbols
from lathe.models import AnyModel
from lathe.models.pretrained import (
    Opened,
    absent,
    check_folder,
    new_model,
    open_config,
    open_model,
    open_tokenizer,
    refuse_other_vocabulary,
    training_bytes,
    with_head,
)
from lathe.objectives.text import refuse_headless, refuse_reader_of_both_sides
from lathe.tasks import AnyTask


@runtime_checkable
class PreparesTokenizer(Protocol):
    """A task that gives the tokenizer something, to be saved with it."""

    def prepare_tokenizer(self, tokenizer: Any) -> None:
        """Raises ``RecipeError`` where the tokenizer lacks what it is not given."""


@runtime_checkable
class HasTokenizer(Protocol):
    """A task whose words are those of its rows: a new model needs no tokenizer."""

    def own_tokenizer(self, tables: Mapping[str, Table]) -> Any:
        """A fast tokenizer of Hugging Face's."""


@runtime_checkable
class ChecksModel(Protocol):
    """A task that not every model can learn."""

    def check_model(self, shape: PretrainedConfig, symbols: Symbols) -> None:
        """Raises ``RecipeError`` with the way out."""


@runtime_checkable
class KnowsPrior(Protocol):
    """A task with outputs some of which are right far more often than others."""

    def log_prior(self, lessons: Sequence[Encoded]) -> Sequence[float]:
        """What a new head says of every word before it has learnt to read: log P of each output, by ``lessons``."""


@runtime_checkable
class Furnishes(Protocol):
    """A task whose model other libraries open by files of their own."""

    def furnish(self, folder: Path, shape: PretrainedConfig) -> None:
        """Write them beside the model."""


@dataclass(frozen=True)
class Origin:
    """A folder, or a shape and a folder with the tokenizer of its words."""

    base: Path | None
    model: AnyModel | None
    tokenizer: Path | None

    def check(self, task: AnyTask) -> None:
        """Raises ``LatheError`` where it is both or neither, or the folder cannot be opened."""
        given = [name for name in ("base", "model", "tokenizer") if getattr(self, name) is not None]
        if given not in (["base"], ["model"] if isinstance(task, HasTokenizer) else ["model", "tokenizer"]):
            raise RecipeError(
                f"{' and '.join(given) or 'no model'} given: give `base` (a model to go on from), or `model` and "
                "`tokenizer` (a new one)"
            )
        if self.base is not None:
            check_folder(self.base)

    def makes_tokenizer(self, task: AnyTask) -> bool:
        return self.base is None and isinstance(task, HasTokenizer)

    def read(self, task: AnyTask, tables: Mapping[str, Table]) -> tuple[Any, PretrainedConfig]:
        """Tokenizer and configuration; the tables are read where the task makes its tokenizer of them.

        Raises ``RecipeError`` where they do not suit each other or the task.
        """
        self.check(task)
        is_new = self.base is None
        tokenizer: Any = (
            task.own_tokenizer(tables) if is_new and isinstance(task, HasTokenizer) else open_tokenizer(self.folder)
        )
        shape = self.model.config(tokenizer) if self.model is not None else open_config(self.folder)
        refuse_other_vocabulary(tokenizer, shape, self.folder)
        if isinstance(task, PreparesTokenizer):
            task.prepare_tokenizer(tokenizer)
        if hasattr(task.auto_model, "_model_mapping"):  # a class of transformers, not one of ours for any encoder
            refuse_headless(task.auto_model, shape, task.kind, "task")
        if task.auto_model is AutoModelForCausalLM:
            refuse_reader_of_both_sides(shape, task.kind, "task")
        if isinstance(task, ChecksModel):
            task.check_model(shape, Symbols.of(tokenizer))
        return tokenizer, shape

    def open(self, task: AnyTask, tokenizer: Any, shape: PretrainedConfig, seed: int) -> Opened:
        """The model with the head of the task; all weights of a new one are drawn from ``seed``."""
        pad = Symbols.of(tokenizer).pad
        if self.base is not None:
            return open_model(task.auto_model, self.base, task.outputs, seed, pad)
        model = new_model(task.auto_model, with_head(shape, task.outputs, pad), seed)
        return Opened(model, ("all",), ())

    def absent(self, model: PreTrainedModel) -> tuple[str, ...]:
        """Names of the weights that are drawn anew, before any is read."""
        return absent(model, self.base) if self.base is not None else ("all",)

    @property
    def folder(self) -> Path:
        return self.base or self.tokenizer or Path()

    def training_bytes(self, rows: int) -> int:
        """About what training takes; of a new model, which is read from nowhere, nothing is known ahead."""
        return training_bytes(self.base, rows) if self.base is not None else 0
