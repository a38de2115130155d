"""Networks from before the Transformer by their size."""

from typing import Any, Literal

from pydantic import Field

from lathe.core.recipe import recipe
from lathe.models.early import LSTMConfig, NeuralNGramConfig
from lathe.models.presets import rounded


@recipe
class NeuralNGram:
    """The neural n-gram model (Bengio et al., 2003): one hidden layer over the embeddings of the last words.

    For next tokens (``objective.kind=causal``). It opens where Lathe is imported; transformers alone does not know it.
    """

    kind: Literal["neural-ngram"] = "neural-ngram"
    order: int = Field(5, ge=2)
    """Length of an n-gram in tokens: one less are seen."""
    embedding_size: int = Field(128, ge=1)
    """Width of an embedding."""
    hidden_size: int = Field(512, ge=1)
    """Width of the hidden layer."""
    direct: bool = False
    """Whether embeddings also reach the output directly."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout of the hidden layer."""
    pad_to_multiple_of: int = Field(64, ge=1)
    """The table of embeddings gets a multiple of this many rows."""

    def config(self, tokenizer: Any) -> NeuralNGramConfig:
        return NeuralNGramConfig(
            vocab_size=rounded(len(tokenizer), self.pad_to_multiple_of),
            order=self.order,
            embedding_size=self.embedding_size,
            hidden_size=self.hidden_size,
            direct=self.direct,
            dropout=self.dropout,
            **_special(tokenizer),
        )


@recipe
class LSTM:
    """An LSTM language model, words in and words out in one table.

    For next tokens (``objective.kind=causal``). It opens where Lathe is imported; transformers alone does not know it.
    """

    kind: Literal["lstm"] = "lstm"
    embedding_size: int = Field(256, ge=1)
    """Width of an embedding."""
    hidden_size: int = Field(512, ge=1)
    """Width of the state; that of the last layer is projected to the width of an embedding, where they differ."""
    num_hidden_layers: int = Field(2, ge=1)
    """Layers."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout of embeddings, and of what each layer gives."""
    pad_to_multiple_of: int = Field(64, ge=1)
    """The table of embeddings gets a multiple of this many rows."""

    def config(self, tokenizer: Any) -> LSTMConfig:
        return LSTMConfig(
            vocab_size=rounded(len(tokenizer), self.pad_to_multiple_of),
            embedding_size=self.embedding_size,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            dropout=self.dropout,
            **_special(tokenizer),
        )


def _special(tokenizer: Any) -> dict[str, Any]:
    return {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
