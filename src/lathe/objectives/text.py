"""What every objective of pretraining can say of itself: which rows it needs, and which models and texts suit it."""

from pathlib import Path
from typing import Any, ClassVar

from transformers import AutoModelForMaskedLM, PreTrainedConfig

from lathe.core.errors import RecipeError
from lathe.core.rows import Layout
from lathe.core.tokens import TokenFile
from lathe.core.types import Symbols


class TextObjective:
    """An `Objective` over rows of a token file. Its defaults: any row of tokens, and a model with the right head."""

    auto_model: ClassVar[Any]
    """Hugging Face's class with the head."""
    kind: str
    predicts_tokens: ClassVar[bool] = True
    """Whether a part of its loss is that of tokens of the text, which word frequencies can be compared with."""

    @property
    def layout(self) -> Layout:
        """How documents become rows, and what rows know of their text."""
        return Layout()

    def prepare_tokenizer(self, tokenizer: Any, max_length: int, is_new: bool) -> None:
        """Give the tokenizer what rows of ``max_length`` need of it, where it is that of a new model (``is_new``).

        Raises ``RecipeError`` where it lacks something that it is not given.
        """

    def check_model(self, shape: PreTrainedConfig, symbols: Symbols) -> None:
        """Raises ``RecipeError`` where this cannot be learnt by such a model, or with such a tokenizer."""
        refuse_headless(self.auto_model, shape, self.kind)

    def check_rows(self, tokens: TokenFile, path: Path) -> None:
        """Raises ``DataError`` where the rows of the text ``path`` give nothing to learn."""


def refuse_headless(auto_model: Any, shape: PreTrainedConfig, kind: str, role: str = "objective") -> None:
    """Raises ``RecipeError`` where transformers has no such head for a model."""
    if type(shape) not in auto_model._model_mapping:
        known = sorted(USUAL[of] for of in {config.model_type for config in auto_model._model_mapping} & USUAL.keys())
        raise RecipeError(
            f"{role}.kind: {kind} does not fit a model of type {shape.model_type!r}: transformers has no "
            f"{auto_model.__name__} for it; choose another {role}, or a model such as {', '.join(known)}"
        )


def mask_token(symbols: Symbols, kind: str) -> int:
    """Its id. Raises ``RecipeError`` for a tokenizer without one."""
    if symbols.mask is None:
        raise RecipeError(
            f"objective.kind: {kind} needs a tokenizer with a mask token; this one has none. Make one with "
            "`lathe tokenizer algorithm.kind=wordpiece`, or choose an objective that hides nothing (causal, prefix)"
        )
    return symbols.mask


def refuse_reader_of_both_sides(shape: PreTrainedConfig, kind: str, role: str = "objective") -> None:
    """Raises ``RecipeError`` for a model that sees the token it should predict."""
    if reads_both_sides(shape):
        raise RecipeError(
            f"{role}.kind: {kind} needs a model that reads from left to right; {shape.model_type!r} sees the "
            f"token that it should predict. Set model.kind=gpt2, or another {role}.kind"
        )


def reads_both_sides(shape: PreTrainedConfig) -> bool:
    """Whether a position of such a model sees the ones behind it."""
    encoder = type(shape) in AutoModelForMaskedLM._model_mapping and not getattr(shape, "is_decoder", False)
    return getattr(shape, "attn_type", None) == "bi" or (encoder and not shape.is_encoder_decoder)


USUAL = {
    name: name
    for name in (
        "albert",
        "bart",
        "bert",
        "distilbert",
        "electra",
        "gpt2",
        "llama",
        "modernbert",
        "qwen3",
        "roberta",
        "t5",
        "xlnet",
    )
} | {
    f"lathe-{name}": f"transformer with model.architecture={name}" for name in ("encoder", "decoder", "encoder-decoder")
}
"""Types of models that a message may name, and how."""
