"""ModernBERT- and GPT-2-shaped networks by size, and any other architecture by its Hugging Face configuration."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from transformers import AutoConfig, GPT2Config, ModernBertConfig, PretrainedConfig

from lathe.core.errors import RecipeError
from lathe.core.recipe import recipe


@recipe
class ModernBert:
    """An encoder of ModernBERT's shape (Warner et al., 2024): pre-norm layers, rotary positions, gated GELU.

    Learns much faster than BERT's shape in the first minutes. All layers see the whole row.
    """

    kind: Literal["modernbert"] = "modernbert"
    hidden_size: int = Field(256, ge=1)
    """Width D."""
    num_hidden_layers: int = Field(4, ge=1)
    """Layers."""
    num_attention_heads: int = Field(4, ge=1)
    """Heads; they divide the width."""
    intermediate_size: int | None = Field(None, ge=1)
    """Width of the gated feed-forward part; one and a half times the width where not given."""
    max_position_embeddings: int = Field(512, ge=2)
    """Longest row in tokens."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout of embeddings, attention and feed-forward parts."""
    pad_to_multiple_of: int = Field(64, ge=1)
    """The table of embeddings gets a multiple of this many rows."""

    def config(self, tokenizer: Any) -> PretrainedConfig:
        check_heads(self.hidden_size, self.num_attention_heads)
        return ModernBertConfig(
            vocab_size=rounded(len(tokenizer), self.pad_to_multiple_of),
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=self.intermediate_size or 3 * self.hidden_size // 2,
            max_position_embeddings=self.max_position_embeddings,
            layer_types=["full_attention"] * self.num_hidden_layers,
            embedding_dropout=self.dropout,
            attention_dropout=self.dropout,
            mlp_dropout=self.dropout,
            classifier_pooling="mean",
            classifier_dropout=self.dropout,
            bos_token_id=tokenizer.cls_token_id,
            cls_token_id=tokenizer.cls_token_id,
            eos_token_id=tokenizer.sep_token_id,
            sep_token_id=tokenizer.sep_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )


@recipe
class GPT2:
    """A decoder of GPT-2's shape (Radford et al., 2019): pre-norm layers, learned positions, GELU."""

    kind: Literal["gpt2"] = "gpt2"
    n_embd: int = Field(256, ge=1)
    """Width D."""
    n_layer: int = Field(4, ge=1)
    """Layers."""
    n_head: int = Field(4, ge=1)
    """Heads; they divide the width."""
    n_positions: int = Field(512, ge=2)
    """Longest row in tokens."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout of embeddings, hidden states and attention."""
    pad_to_multiple_of: int = Field(64, ge=1)
    """The table of embeddings gets a multiple of this many rows."""

    def config(self, tokenizer: Any) -> PretrainedConfig:
        check_heads(self.n_embd, self.n_head)
        return GPT2Config(
            vocab_size=rounded(len(tokenizer), self.pad_to_multiple_of),
            n_embd=self.n_embd,
            n_layer=self.n_layer,
            n_head=self.n_head,
            n_positions=self.n_positions,
            resid_pdrop=self.dropout,
            embd_pdrop=self.dropout,
            attn_pdrop=self.dropout,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )


@recipe
class FromConfig:
    """Any architecture of transformers, new weights: its shape is a ``config.json``, its words the tokenizer's."""

    kind: Literal["config"] = "config"
    path: Path
    """A ``config.json`` or a folder that holds one."""
    pad_to_multiple_of: int = Field(64, ge=1)
    """The table of embeddings gets a multiple of this many rows."""

    def config(self, tokenizer: Any) -> PretrainedConfig:
        file = self.path / "config.json" if self.path.is_dir() else self.path
        if not file.is_file():
            raise RecipeError(f"model.path: {file}: no such file")
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RecipeError(f"model.path: {file}: not JSON ({error})") from None
        if "auto_map" in values:
            raise RecipeError(
                f"model.path: {file}: wants to run code of its own (auto_map); Lathe runs none from a model folder"
            )
        config: PretrainedConfig = AutoConfig.for_model(**values)
        config.vocab_size = rounded(len(tokenizer), self.pad_to_multiple_of)
        config.pad_token_id = tokenizer.pad_token_id
        return config


def rounded(size: int, multiple: int = 64) -> int:
    """Vocabulary sizes that are a multiple of 64 make matrix products faster; the extra rows are never a label."""
    return -(-size // multiple) * multiple


def check_heads(width: int, heads: int) -> None:
    """Raises ``RecipeError`` where a head would not have a whole number of the width."""
    if width % heads:
        raise RecipeError(f"model: {heads} heads do not divide a width of {width}")
