"""Encoder-decoders by size, T5- and BART-shaped, and XLNet's shape, which predicts through a second stream."""

from typing import Any, Literal

from pydantic import Field
from transformers import BartConfig, PretrainedConfig, T5Config, XLNetConfig

from lathe.core.errors import RecipeError
from lathe.core.recipe import recipe
from lathe.core.types import Symbols
from lathe.models.presets import check_heads, rounded


@recipe
class T5:
    """An encoder-decoder of T5's shape (Raffel et al., 2020): pre-norm layers, relative positions, rows of any length.

    The decoder begins with the padding token.
    """

    kind: Literal["t5"] = "t5"
    d_model: int = Field(256, ge=1)
    """Width D."""
    num_layers: int = Field(4, ge=1)
    """Layers of the encoder."""
    num_decoder_layers: int | None = Field(None, ge=1)
    """Layers of the decoder; as many as of the encoder where not given."""
    num_heads: int = Field(4, ge=1)
    """Heads."""
    d_kv: int | None = Field(None, ge=1)
    """Width of a head; the width by the heads, which then divide it, where not given."""
    d_ff: int | None = Field(None, ge=1)
    """Width of the feed-forward part; four times the width where not given, gated two thirds of that."""
    feed_forward_proj: Literal["relu", "gated-gelu"] = "relu"
    """The feed-forward part: the first version's, or the gated one of version 1.1."""
    dropout_rate: float = Field(0.1, ge=0, lt=1)
    """Dropout of embeddings, hidden states and attention."""
    pad_to_multiple_of: int = Field(64, ge=1)
    """The table of embeddings gets a multiple of this many rows."""

    def config(self, tokenizer: Any) -> PretrainedConfig:
        if self.d_kv is None:
            check_heads(self.d_model, self.num_heads)
        symbols = Symbols.of(tokenizer)
        inner = 4 * self.d_model if self.feed_forward_proj == "relu" else rounded(8 * self.d_model // 3)
        config = T5Config(
            vocab_size=rounded(len(tokenizer), self.pad_to_multiple_of),
            d_model=self.d_model,
            d_kv=self.d_kv or self.d_model // self.num_heads,
            d_ff=self.d_ff or inner,
            num_layers=self.num_layers,
            num_decoder_layers=self.num_decoder_layers,
            num_heads=self.num_heads,
            feed_forward_proj=self.feed_forward_proj,
            dropout_rate=self.dropout_rate,
            pad_token_id=symbols.pad,
            eos_token_id=symbols.end,
        )
        config.decoder_start_token_id = symbols.pad
        return config


@recipe
class Bart:
    """An encoder-decoder of BART's shape (Lewis et al., 2020): post-norm layers, learned positions, GELU.

    The decoder begins with the end token.
    """

    kind: Literal["bart"] = "bart"
    d_model: int = Field(256, ge=1)
    """Width D."""
    encoder_layers: int = Field(4, ge=1)
    """Layers of the encoder."""
    decoder_layers: int | None = Field(None, ge=1)
    """Layers of the decoder; as many as of the encoder where not given."""
    num_attention_heads: int = Field(4, ge=1)
    """Heads of the encoder and of the decoder; they divide the width."""
    ffn_dim: int | None = Field(None, ge=1)
    """Width of the feed-forward parts; four times the width where not given."""
    max_position_embeddings: int = Field(512, ge=2)
    """Longest row in tokens."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout of embeddings, hidden states and attention."""
    pad_to_multiple_of: int = Field(64, ge=1)
    """The table of embeddings gets a multiple of this many rows."""

    def config(self, tokenizer: Any) -> PretrainedConfig:
        check_heads(self.d_model, self.num_attention_heads)
        symbols = Symbols.of(tokenizer)
        if symbols.end is None:
            raise RecipeError("model.kind: bart needs a tokenizer with an end or separator token; this one has none")
        inner = self.ffn_dim or 4 * self.d_model
        return BartConfig(
            vocab_size=rounded(len(tokenizer), self.pad_to_multiple_of),
            d_model=self.d_model,
            encoder_layers=self.encoder_layers,
            decoder_layers=self.decoder_layers or self.encoder_layers,
            encoder_attention_heads=self.num_attention_heads,
            decoder_attention_heads=self.num_attention_heads,
            encoder_ffn_dim=inner,
            decoder_ffn_dim=inner,
            max_position_embeddings=self.max_position_embeddings,
            dropout=self.dropout,
            attention_dropout=self.dropout,
            bos_token_id=tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.cls_token_id,
            pad_token_id=symbols.pad,
            eos_token_id=symbols.end,
            forced_eos_token_id=symbols.end,
            decoder_start_token_id=symbols.end,
        )


@recipe
class XLNet:
    """A network of XLNet's shape (Yang et al., 2019): post-norm layers, relative positions, rows of any length."""

    kind: Literal["xlnet"] = "xlnet"
    d_model: int = Field(256, ge=1)
    """Width D."""
    n_layer: int = Field(4, ge=1)
    """Layers."""
    n_head: int = Field(4, ge=1)
    """Heads; they divide the width."""
    d_inner: int | None = Field(None, ge=1)
    """Width of the feed-forward part; four times the width where not given."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout of embeddings, hidden states and attention."""
    pad_to_multiple_of: int = Field(64, ge=1)
    """The table of embeddings gets a multiple of this many rows."""

    def config(self, tokenizer: Any) -> PretrainedConfig:
        check_heads(self.d_model, self.n_head)
        symbols = Symbols.of(tokenizer)
        return XLNetConfig(
            vocab_size=rounded(len(tokenizer), self.pad_to_multiple_of),
            d_model=self.d_model,
            n_layer=self.n_layer,
            n_head=self.n_head,
            d_inner=self.d_inner or 4 * self.d_model,
            dropout=self.dropout,
            summary_last_dropout=self.dropout,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=symbols.end,
            pad_token_id=symbols.pad,
        )
