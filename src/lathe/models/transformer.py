"""The Transformer (Vaswani et al., 2017): encoder, decoder, and encoder with decoder, to be read from top to bottom.

Shapes: B rows, T positions, S positions of the other side (keys), D width, H heads, G heads of keys and values,
W = D / H width of a head, F inner width of the feed-forward part, V vocabulary.

`lathe.models.transformer_heads` puts heads on it and makes it known to ``AutoModel``.
"""

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache
from transformers.masking_utils import create_bidirectional_mask, create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPastAndCrossAttentions, Seq2SeqModelOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

Activation = Literal["relu", "gelu", "gelu_new", "swiglu"]
Positions = Literal["sinusoidal", "learned", "rotary"]


class TransformerConfig(PreTrainedConfig):
    """What all three have in common. Names are Hugging Face's where it has one."""

    vocab_size: int = 32000  # V
    hidden_size: int = 512  # D
    num_hidden_layers: int = 6
    num_attention_heads: int = 8  # H
    num_key_value_heads: int | None = None  # G; H where not given
    intermediate_size: int = 2048  # F
    max_position_embeddings: int = 512
    position_embedding_type: Positions = "sinusoidal"
    hidden_act: Activation = "relu"
    norm_position: Literal["post", "pre"] = "post"
    normalization: Literal["layer", "rms"] = "layer"
    norm_eps: float = 1e-5
    bias: bool = True  # of linear layers
    rotary_base: float = 10000.0
    dropout: float = 0.1
    initializer_range: float = 0.02
    tie_word_embeddings: bool = True
    use_cache: bool = True
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.num_key_value_heads = self.num_key_value_heads or self.num_attention_heads
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"{self.num_attention_heads} heads do not divide a width of {self.hidden_size}")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(f"{self.num_key_value_heads} key heads do not divide {self.num_attention_heads} heads")
        if self.position_embedding_type == "rotary" and self.hidden_size // self.num_attention_heads % 2:
            raise ValueError("rotary positions turn pairs of numbers: the width of a head must be even")


class EncoderConfig(TransformerConfig):
    model_type: ClassVar[str] = "lathe-encoder"


class DecoderConfig(TransformerConfig):
    model_type: ClassVar[str] = "lathe-decoder"


class EncoderDecoderConfig(TransformerConfig):
    model_type: ClassVar[str] = "lathe-encoder-decoder"
    num_decoder_layers: int = 6
    is_encoder_decoder: bool = True
    decoder_start_token_id: int | None = None


def attention(
    _: nn.Module,
    query: Tensor,  # [B, H, T, W]
    key: Tensor,  # [B, G, S, W]
    value: Tensor,  # [B, G, S, W]
    attention_mask: Tensor | None,  # [B, 1, T, S] where a query may see a key; None: everywhere
    scaling: float,
    dropout: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """softmax(Q Kᵀ / √W) V over the keys that may be seen; a query that may see none gets zeros.

    Dot products of W numbers of variance 1 have variance W: √W brings them back to 1, or the softmax would saturate.
    Runs as ``attn_implementation="eager"``; by default torch computes the same, and in training `lathe.core.packing`.
    """
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)  # [B, H, S, W] (Ainslie, 2023)
    scores = query @ key.transpose(-1, -2) * scaling  # [B, H, T, S]
    if attention_mask is not None:
        seen = attention_mask if attention_mask.dtype == torch.bool else attention_mask == 0  # theirs adds 0, or -3e38
        scores = scores.masked_fill(~seen, -torch.inf)
        weights = scores.softmax(-1, torch.float32).masked_fill(~seen, 0.0)  # a row of -inf is NaN: by this rule zeros
    else:
        weights = scores.softmax(-1, torch.float32)
    weights = F.dropout(weights, dropout).to(value.dtype)
    return (weights @ value).transpose(1, 2), weights  # [B, T, H, W], [B, H, T, S]


class Attention(nn.Module):
    """Concat(head_1 ... head_H) W_o with head_i = attention(x W_q, source W_k, source W_v)_i; the source may be x."""

    def __init__(self, config: TransformerConfig, layer: int, is_causal: bool) -> None:
        super().__init__()
        width = config.hidden_size // config.num_attention_heads
        self.config, self.layer, self.width, self.is_causal = config, layer, width, is_causal
        self.num_key_value_groups = config.num_attention_heads // (config.num_key_value_heads or 1)
        self.scaling, self.dropout = width**-0.5, config.dropout
        self.q_proj = nn.Linear(config.hidden_size, config.num_attention_heads * width, config.bias)
        self.k_proj = nn.Linear(config.hidden_size, (config.num_key_value_heads or 1) * width, config.bias)
        self.v_proj = nn.Linear(config.hidden_size, (config.num_key_value_heads or 1) * width, config.bias)
        self.o_proj = nn.Linear(config.num_attention_heads * width, config.hidden_size, config.bias)

    def forward(
        self,
        x: Tensor,  # [B, T, D]
        attention_mask: Tensor | None,
        source: Tensor | None = None,  # [B, S, D] what keys and values are made of, where it is not x
        turn: tuple[Tensor, Tensor] | None = None,  # cos, sin: [B or 1, T, W]
        cache: Cache | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        query = self._heads(self.q_proj(x))  # [B, H, T, W]
        if source is not None and cache is not None and cache.get_seq_length(self.layer):
            first: Any = cache.layers[self.layer]  # what the encoder made does not change after the first step
            key, value = first.keys, first.values
        else:
            given = x if source is None else source
            key, value = self._heads(self.k_proj(given)), self._heads(self.v_proj(given))  # [B, G, S, W]
            if turn is not None:
                query, key = rotated(query, *turn), rotated(key, *turn)
            if cache is not None:  # no token sees later ones, so what earlier steps computed holds: [B, G, past + T, W]
                key, value = cache.update(key, value, self.layer)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, attention)
        dropout = self.dropout if self.training else 0.0
        heads, weights = attend(self, query, key, value, attention_mask, scaling=self.scaling, dropout=dropout)
        return self.o_proj(heads.flatten(2)), weights

    def _heads(self, x: Tensor) -> Tensor:
        """[B, T, heads * W] -> [B, heads, T, W]"""
        return x.view(*x.shape[:-1], -1, self.width).transpose(1, 2)


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """PE(p, 2i) = sin(p / 10000^(2i/D)), PE(p, 2i+1) = cos(p / 10000^(2i/D)), i = 0 ... D/2 - 1.  [..., T, D]"""
    angles = positions[..., None].float() * frequencies(width, 10000.0, positions.device)  # [..., T, D/2]
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(-2)[..., :width]


def rotations(positions: Tensor, width: int, base: float) -> tuple[Tensor, Tensor]:
    """cos and sin of p / base^(2i/W) for both halves of a head (Su et al., 2021).  [..., T, W]"""
    angles = positions[..., None].float() * frequencies(width, base, positions.device)
    angles = torch.cat((angles, angles), -1)
    return angles.cos(), angles.sin()


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x_i, x_{i + W/2}) of [B, heads, T, W] by its angle: q·k then depends on their distance only.

    The pairs are halves apart as in Llama; the paper pairs neighbours, the same up to the order of a head's numbers.
    """
    cos, sin = cos.unsqueeze(1).to(x.dtype), sin.unsqueeze(1).to(x.dtype)  # [B or 1, 1, T, W]
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


def frequencies(width: int, base: float, device: torch.device) -> Tensor:
    """base^(-2i / width) for i = 0 ... ⌈width/2⌉ - 1"""
    return torch.pow(base, -torch.arange(0, width, 2, dtype=torch.float32, device=device) / width)


class FeedForward(nn.Module):
    """max(0, x W_1 + b_1) W_2 + b_2, or with GELU; SwiGLU: (silu(x W_g) ⊙ x W_1) W_2 (Shazeer, 2020)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.kind = config.hidden_act
        if self.kind == "swiglu":
            self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, config.bias)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, config.bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, config.bias)

    def forward(self, x: Tensor) -> Tensor:  # [B, T, D] -> [B, T, D]
        up = self.up_proj(x)  # [B, T, F]
        if self.kind == "swiglu":
            inner = F.silu(self.gate_proj(x)) * up
        elif self.kind == "relu":
            inner = F.relu(up)
        else:
            inner = F.gelu(up, approximate="tanh" if self.kind == "gelu_new" else "none")
        out: Tensor = self.down_proj(inner)
        return out


def norm(config: TransformerConfig) -> nn.Module:
    """γ (x - μ) / √(σ² + ε) + β with μ and σ² of each token's D numbers (Ba et al., 2016); RMS: without μ and β."""
    kind = nn.LayerNorm if config.normalization == "layer" else nn.RMSNorm
    return kind(config.hidden_size, config.norm_eps)


class Block(GradientCheckpointingLayer):
    """Self-attention, in a decoder masked; then over the encoder's output where there is one; then feed-forward.

    Around each sublayer f:  post-norm (the paper)  x ← norm(x + f(x));  pre-norm (Xiong et al., 2020)
    x ← x + f(norm(x)), whose gradients need no warm-up.
    """

    def __init__(self, config: TransformerConfig, layer: int, is_causal: bool, sees_encoder: bool) -> None:
        super().__init__()
        self.is_pre_norm = config.norm_position == "pre"
        self.self_attention, self.self_attention_norm = Attention(config, layer, is_causal), norm(config)
        if sees_encoder:
            self.cross_attention, self.cross_attention_norm = Attention(config, layer, is_causal=False), norm(config)
        self.feed_forward, self.feed_forward_norm = FeedForward(config), norm(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        hidden_states: Tensor,  # [B, T, D]
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,  # [B, S, D]
        encoder_attention_mask: Tensor | None = None,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        past_key_values: Cache | None = None,
    ) -> Tensor:
        (own, cross), x = _caches(past_key_values), hidden_states
        y = self._before(x, self.self_attention_norm)
        y, _ = self.self_attention(y, attention_mask, turn=position_embeddings, cache=own)
        x = self._after(x, y, self.self_attention_norm)
        if encoder_hidden_states is not None:
            y = self._before(x, self.cross_attention_norm)
            y, _ = self.cross_attention(y, encoder_attention_mask, source=encoder_hidden_states, cache=cross)
            x = self._after(x, y, self.cross_attention_norm)
        y = self._before(x, self.feed_forward_norm)
        return self._after(x, self.feed_forward(y), self.feed_forward_norm)

    def _before(self, x: Tensor, norm: nn.Module) -> Tensor:
        return norm(x) if self.is_pre_norm else x

    def _after(self, x: Tensor, y: Tensor, norm: nn.Module) -> Tensor:
        x = x + self.dropout(y)
        return x if self.is_pre_norm else norm(x)


class Transformer(PreTrainedModel):
    """What every model of this file shares as a model of Hugging Face's."""

    config_class: Any = TransformerConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": Block, "attentions": OutputRecorder(Attention, 1, "self_attention")}


class Stack(Transformer):
    """Words and positions as vectors, then blocks; pre-norm blocks leave their sum to one more norm."""

    def __init__(self, config: TransformerConfig, depth: int, is_causal: bool, sees_encoder: bool) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        if config.position_embedding_type == "learned":
            self.embed_positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(Block(config, i, is_causal, sees_encoder) for i in range(depth))
        self.norm = norm(config) if config.norm_position == "pre" else nn.Identity()
        self.post_init()

    def embed(self, input_ids: Tensor, positions: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """The input of the first block, [B, T, D], and what its heads are to be turned by."""
        config, words, turn = self.config, self.embed_tokens(input_ids), None
        if config.position_embedding_type == "sinusoidal":
            words = words * math.sqrt(config.hidden_size) + sinusoids(positions, config.hidden_size).to(words.dtype)
        elif config.position_embedding_type == "learned":
            words = words + self.embed_positions(positions)
        else:
            turn = rotations(positions, config.hidden_size // config.num_attention_heads, config.rotary_base)
        return self.dropout(words), turn


class Encoder(Stack):
    """Every token sees every token of its row."""

    config_class = EncoderConfig

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config, config.num_hidden_layers, is_causal=False, sees_encoder=False)

    @capture_outputs  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,  # these two are the decorator's
        output_attentions: bool | None = None,
    ) -> BaseModelOutput:
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        x, turn = self.embed(input_ids, positions)  # [B, T, D]
        mask = create_bidirectional_mask(self.config, x, attention_mask)
        for layer in self.layers:
            x = layer(x, mask, position_embeddings=turn)
        return BaseModelOutput(last_hidden_state=self.norm(x))


class Decoder(Stack):
    """A token sees the tokens before it, and all of the encoder's where there is an encoder."""

    config_class = DecoderConfig

    def __init__(self, config: TransformerConfig) -> None:
        both = isinstance(config, EncoderDecoderConfig)
        depth = config.num_decoder_layers if both else config.num_hidden_layers
        super().__init__(config, depth, is_causal=True, sees_encoder=both)

    @capture_outputs  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,  # [B, S, D]
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
            if self.config.is_encoder_decoder:
                past_key_values = EncoderDecoderCache(past_key_values, DynamicCache(config=self.config))
        own, _ = _caches(past_key_values)
        past = 0 if own is None else own.get_seq_length()
        if position_ids is None:
            position_ids = torch.arange(past, past + input_ids.shape[1], device=input_ids.device)[None]
        x, turn = self.embed(input_ids, position_ids)  # [B, T, D]
        mask = create_causal_mask(self.config, x, attention_mask, own)
        cross = None
        if encoder_hidden_states is not None:
            cross = create_bidirectional_mask(self.config, x, encoder_attention_mask, encoder_hidden_states)
        for layer in self.layers:
            x = layer(x, mask, encoder_hidden_states, cross, position_embeddings=turn, past_key_values=past_key_values)
        return BaseModelOutputWithPastAndCrossAttentions(self.norm(x), past_key_values)


def _caches(both: Cache | None) -> tuple[Cache | None, Cache | None]:
    """Keys and values of a decoder's own tokens, and of the encoder's."""
    if isinstance(both, EncoderDecoderCache):
        return both.self_attention_cache, both.cross_attention_cache
    return both, None


class EncoderDecoder(Transformer):
    """Both, with one table of words."""

    config_class = EncoderDecoderConfig
    _tied_weights_keys = {
        "encoder.embed_tokens.weight": "shared.weight",
        "decoder.embed_tokens.weight": "shared.weight",
    }

    def __init__(self, config: EncoderDecoderConfig) -> None:
        super().__init__(config)
        self.shared = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.shared

    def set_input_embeddings(self, value: Any) -> None:
        self.shared = self.encoder.embed_tokens = self.decoder.embed_tokens = value

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: BaseModelOutput | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> Seq2SeqModelOutput:
        kept = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        encoded = encoder_outputs or self.encoder(input_ids, attention_mask, **kept)
        source = {"encoder_hidden_states": encoded.last_hidden_state, "encoder_attention_mask": attention_mask}
        cache = {"past_key_values": past_key_values, "use_cache": use_cache}
        decoded = self.decoder(decoder_input_ids, decoder_attention_mask, **source, **cache, **kept)
        of_encoder = {f"encoder_{name}": encoded[name] for name in encoded}
        return Seq2SeqModelOutput(
            decoded.last_hidden_state, decoded.past_key_values, decoded.hidden_states, **of_encoder
        )
