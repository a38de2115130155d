"""Decoders of today's shape by size: pre-norm layers with RMSNorm, rotary positions, gated SiLU, grouped heads."""

from typing import Any, Literal

from pydantic import Field
from transformers import LlamaConfig, PretrainedConfig, Qwen3Config

from lathe.core.errors import RecipeError
from lathe.core.recipe import recipe
from lathe.models.presets import check_heads, rounded


@recipe
class Decoder:
    """What decoders of Llama's shape have in common."""

    hidden_size: int = Field(256, ge=1)
    """Width D."""
    num_hidden_layers: int = Field(4, ge=1)
    """Layers."""
    num_attention_heads: int = Field(4, ge=1)
    """Heads of queries; they divide the width where a head has no width of its own."""
    num_key_value_heads: int | None = Field(None, ge=1)
    """Heads of keys and values, each shared by a group of query heads; as many as of queries where not given."""
    intermediate_size: int | None = Field(None, ge=1)
    """Width of the gated feed-forward part; 8/3 of the width, to a multiple of 64, where not given."""
    max_position_embeddings: int = Field(512, ge=2)
    """Longest row in tokens."""
    rope_theta: float = Field(10000.0, gt=0)
    """Base of the rotary positions."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout of attention, the only one of this shape."""
    tie_word_embeddings: bool = True
    """One table for the embeddings and the head, as in the small models of the family."""
    pad_to_multiple_of: int = Field(64, ge=1)
    """The table of embeddings gets a multiple of this many rows."""

    def _values(self, tokenizer: Any) -> dict[str, Any]:
        groups = self.num_key_value_heads or self.num_attention_heads
        if self.num_attention_heads % groups:
            raise RecipeError(f"model: {groups} key-value heads do not divide {self.num_attention_heads} heads")
        return {
            "vocab_size": rounded(len(tokenizer), self.pad_to_multiple_of),
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": groups,
            "intermediate_size": self.intermediate_size or rounded(8 * self.hidden_size // 3),
            "max_position_embeddings": self.max_position_embeddings,
            "rope_parameters": {"rope_type": "default", "rope_theta": self.rope_theta},
            "attention_dropout": self.attention_dropout,
            "tie_word_embeddings": self.tie_word_embeddings,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }


@recipe
class Llama(Decoder):
    """A decoder of Llama's shape (Touvron et al., 2023)."""

    kind: Literal["llama"] = "llama"

    def config(self, tokenizer: Any) -> PretrainedConfig:
        check_heads(self.hidden_size, self.num_attention_heads)
        return LlamaConfig(**self._values(tokenizer))


@recipe
class Qwen3(Decoder):
    """A decoder of Qwen3's shape (Yang et al., 2025): Llama's, with queries and keys normalised in each head."""

    kind: Literal["qwen3"] = "qwen3"
    head_dim: int | None = Field(None, ge=2)
    """Width of a head; the width by the heads, which then divide it, where not given."""

    def config(self, tokenizer: Any) -> PretrainedConfig:
        if self.head_dim is None:
            check_heads(self.hidden_size, self.num_attention_heads)
        width = self.head_dim or self.hidden_size // self.num_attention_heads
        return Qwen3Config(**self._values(tokenizer), head_dim=width)
