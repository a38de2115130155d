"""The Transformer of Lathe by its size: encoder, decoder, or both."""

from typing import Any, Literal

from pydantic import Field

from lathe.core.errors import RecipeError
from lathe.core.recipe import recipe
from lathe.models.presets import rounded
from lathe.models.transformer import (
    Activation,
    DecoderConfig,
    EncoderConfig,
    EncoderDecoderConfig,
    Positions,
    TransformerConfig,
)


@recipe
class TransformerPreset:
    """The Transformer of `lathe.models.transformer`, by default as it is built today.

    As in its paper (Vaswani et al., 2017): ``norm_position=post normalization=layer position_embedding_type=sinusoidal
    hidden_act=relu bias=true``. It opens where Lathe is imported; transformers alone does not know it.
    """

    kind: Literal["transformer"] = "transformer"
    architecture: Literal["encoder", "decoder", "encoder-decoder"] = "encoder"
    """An encoder learns by masked tokens, a decoder by next tokens, both together by pairs of texts."""
    hidden_size: int = Field(256, ge=1)
    """Width D."""
    num_hidden_layers: int = Field(4, ge=1)
    """Layers; of both halves where there are two."""
    num_attention_heads: int = Field(4, ge=1)
    """Heads; they divide the width."""
    num_key_value_heads: int | None = Field(None, ge=1)
    """Heads of keys and values, each shared by a group of heads; as many as heads where not given."""
    intermediate_size: int | None = Field(None, ge=1)
    """Width of the feed-forward part; four times the width where not given, for SwiGLU, which is gated, 8/3."""
    max_position_embeddings: int = Field(512, ge=2)
    """Longest row in tokens."""
    position_embedding_type: Positions = "rotary"
    """How a token knows its place."""
    hidden_act: Activation = "swiglu"
    """Activation of the feed-forward part."""
    norm_position: Literal["pre", "post"] = "pre"
    """Whether a norm stands before each sublayer or after its sum."""
    normalization: Literal["rms", "layer"] = "rms"
    """RMSNorm or LayerNorm."""
    bias: bool = False
    """Whether linear layers have one."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout of embeddings, attention and sublayers."""
    pad_to_multiple_of: int = Field(64, ge=1)
    """The table of embeddings gets a multiple of this many rows."""

    def config(self, tokenizer: Any) -> TransformerConfig:
        gated = self.hidden_act == "swiglu"
        inner = self.intermediate_size or (rounded(8 * self.hidden_size // 3, 8) if gated else 4 * self.hidden_size)
        start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.cls_token_id
        end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
        pad = tokenizer.pad_token_id
        config, more = _KINDS[self.architecture], {}
        if config is EncoderDecoderConfig:
            first = next((token for token in (start, pad, end) if token is not None), None)
            if first is None:
                raise RecipeError(
                    "model.architecture: encoder-decoder needs a token that an answer starts with, and this tokenizer "
                    "has none of bos, cls, pad and eos; train one with `lathe tokenizer`"
                )
            more = {"num_decoder_layers": self.num_hidden_layers, "decoder_start_token_id": first}
        try:
            return config(
                vocab_size=rounded(len(tokenizer), self.pad_to_multiple_of),
                hidden_size=self.hidden_size,
                num_hidden_layers=self.num_hidden_layers,
                num_attention_heads=self.num_attention_heads,
                num_key_value_heads=self.num_key_value_heads,
                intermediate_size=inner,
                max_position_embeddings=self.max_position_embeddings,
                position_embedding_type=self.position_embedding_type,
                hidden_act=self.hidden_act,
                norm_position=self.norm_position,
                normalization=self.normalization,
                bias=self.bias,
                dropout=self.dropout,
                pad_token_id=pad,
                bos_token_id=start,
                eos_token_id=end,
                **more,
            )
        except ValueError as error:
            raise RecipeError(f"model: {error}") from None


_KINDS: dict[str, type[TransformerConfig]] = {
    "encoder": EncoderConfig,
    "decoder": DecoderConfig,
    "encoder-decoder": EncoderDecoderConfig,
}
