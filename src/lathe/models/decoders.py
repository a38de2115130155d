"""Decoders of today's shape by size: pre-norm layers with RMSNorm, rotary positions, gated SiLU, grouped heads."""

from typing import Any, Literal

from pydantic import Field
from transformers import LlamaConfig, PretrainedConfig, Qwen3Config

from lathe.core.errors import RecipeError
from lathe.core.recipe import recipe
from lathe.models.presets import check_heads, rounded


@recipe
class Llama:
    """A decoder of Llama's shape (Touvron et al., 2023)."""

    kind: Literal["llama"] = "llama"
    hidden_size: int = Field(256, ge=1)
    """Width D."""
    num_hidden_layers: int = Field(4, ge=1)
    """Layers."""
    num_attention_heads: int = Field(4, ge=1)
    """Heads of queries; they divide the width."""
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

    def config(self, tokenizer: Any) -> PretrainedConfig:
        return LlamaConfig(**_values(self, tokenizer))


@recipe
class Qwen3:
    """A decoder of Qwen3's shape (Yang et al., 2025): Llama's, with queries and keys normalised in each head."""

    kind: Literal["qwen3"] = "qwen3"
    hidden_size: int = Field(256, ge=1)
    """Width D."""
    num_hidden_layers: int = Field(4, ge=1)
    """Layers."""
    num_attention_heads: int = Field(4, ge=1)
    """Heads of queries."""
    num_key_value_heads: int | None = Field(None, ge=1)
    """Heads of keys and values, each shared by a group of query heads; as many as of queries where not given."""
    head_dim: int | None = Field(None, ge=2)
    """Width of a head; the width by the heads, which then divide it, where not given."""
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

    def config(self, tokenizer: Any) -> PretrainedConfig:
        if self.head_dim is None:
            check_heads(self.hidden_size, self.num_attention_heads)
        return Qwen3Config(
            **_values(self, tokenizer), head_dim=self.head_dim or self.hidden_size // self.num_attention_heads
        )


def _values(shape: Llama | Qwen3, tokenizer: Any) -> dict[str, Any]:
    """What both configurations call by the same names."""
    if isinstance(shape, Llama):
        check_heads(shape.hidden_size, shape.num_attention_heads)
    groups = shape.num_key_value_heads or shape.num_attention_heads
    if shape.num_attention_heads % groups:
        raise RecipeError(f"model: {groups} key-value heads do not divide {shape.num_attention_heads} heads")
    return {
        "vocab_size": rounded(len(tokenizer), shape.pad_to_multiple_of),
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.num_hidden_layers,
        "num_attention_heads": shape.num_attention_heads,
        "num_key_value_heads": groups,
        "intermediate_size": shape.intermediate_size or rounded(8 * shape.hidden_size // 3),
        "max_position_embeddings": shape.max_position_embeddings,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "attention_dropout": shape.attention_dropout,
        "tie_word_embeddings": shape.tie_word_embeddings,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
