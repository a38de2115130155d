"""Heads on the Transformer of `lathe.models.transformer`, and its entry among the models that ``AutoModel`` knows.

Whoever imports ``lathe.models`` can open such a folder with ``AutoModel…from_pretrained``; transformers alone cannot.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    GenerationMixin,
)
from transformers.cache_utils import Cache
from transformers.modeling_outputs import (
    BaseModelOutput,
    CausalLMOutputWithPast,
    MaskedLMOutput,
    Seq2SeqLMOutput,
    SequenceClassifierOutput,
)
from transformers.utils.generic import can_return_tuple

from lathe.core.types import IGNORE
from lathe.models.transformer import (
    Decoder,
    DecoderConfig,
    Encoder,
    EncoderConfig,
    EncoderDecoder,
    EncoderDecoderConfig,
    Transformer,
    TransformerConfig,
)


class _LanguageModel(Transformer):
    """logits = h Eᵀ: a score of each piece of the vocabulary, by default with the table E that embeds them."""

    def __init__(self, config: TransformerConfig, body: Transformer) -> None:
        super().__init__(config)
        self.model = body
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()


class EncoderForMaskedLM(_LanguageModel):
    """Predicts a token from all the others of its row."""

    config_class = EncoderConfig
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config, Encoder(config))

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> MaskedLMOutput:
        kept = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        out = self.model(input_ids, attention_mask, **kept)
        logits = self.lm_head(out.last_hidden_state)  # [B, T, V]
        return MaskedLMOutput(mean_loss(logits, labels), logits, out.hidden_states, out.attentions)


class DecoderForCausalLM(_LanguageModel, GenerationMixin):
    """Predicts a token from those before it."""

    config_class = DecoderConfig
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config, Decoder(config))

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        labels: Tensor | None = None,  # the input itself: shifted here, as transformers does
        logits_to_keep: int = 0,  # of so many last positions; 0: of all
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> CausalLMOutputWithPast:
        kept = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        out = self.model(
            input_ids,
            attention_mask,
            position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            **kept,
        )
        logits = self.lm_head(out.last_hidden_state[:, -logits_to_keep:])  # [B, T, V]
        loss = None if labels is None else mean_loss(logits[:, :-1], labels[:, 1:])
        return CausalLMOutputWithPast(loss, logits, out.past_key_values, out.hidden_states, out.attentions)


class EncoderDecoderForConditionalGeneration(_LanguageModel, GenerationMixin):
    """Predicts a token of an answer from those before it and from all of the text that is answered."""

    config_class = EncoderDecoderConfig
    _tied_weights_keys = {"lm_head.weight": "model.shared.weight"}

    def __init__(self, config: EncoderDecoderConfig) -> None:
        super().__init__(config, EncoderDecoder(config))

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """What the decoder reads while it predicts ``labels``: the start token, then the labels but the last."""
        start = labels.new_full((labels.shape[0], 1), self.config.decoder_start_token_id)
        padding = self.config.decoder_start_token_id if self.config.pad_token_id is None else self.config.pad_token_id
        return torch.cat((start, labels[:, :-1].masked_fill(labels[:, :-1] == IGNORE, padding)), 1)

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: BaseModelOutput | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> Seq2SeqLMOutput:
        if decoder_input_ids is None and labels is not None:
            decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        kept = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        out = self.model(
            input_ids,
            attention_mask,
            decoder_input_ids,
            decoder_attention_mask,
            encoder_outputs,
            past_key_values=past_key_values,
            use_cache=use_cache,
            **kept,
        )
        logits = self.lm_head(out.last_hidden_state)  # [B, T, V]
        return Seq2SeqLMOutput(
            mean_loss(logits, labels),
            logits,
            **{name: value for name, value in out.items() if name != "last_hidden_state"},
        )


def mean_token(states: Tensor, mask: Tensor) -> Tensor:
    """[B, T, D] -> [B, D]"""
    real = mask.to(states.dtype)[..., None]  # [B, T, 1]
    return (states * real).sum(1) / real.sum(1).clamp(min=1)


def last_token(states: Tensor, mask: Tensor) -> Tensor:
    """[B, T, D] -> [B, D], padding on either side"""
    last = (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(1)
    return states[torch.arange(len(states), device=states.device), last]


def every_token(states: Tensor, _: Tensor) -> Tensor:
    return states


class _Labelled(Transformer):
    """A score of each label for what ``gather`` makes of the last states [B, T, D] and the mask [B, T]."""

    body: ClassVar[Any]  # the class of the layers below
    gather: ClassVar[Any]  # states [B, T, D], mask [B, T] -> [B, D] or [B, T, D]

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        self.model = self.body(config)
        self.dropout = nn.Dropout(config.dropout)
        self.score = nn.Linear(config.hidden_size, config.num_labels or 2)
        self.post_init()

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> SequenceClassifierOutput:
        kept = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        out = self.model(input_ids, attention_mask, **kept)
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        logits = self.score(self.dropout(self.gather(out.last_hidden_state, mask)))  # [B, C] or [B, T, C]
        return SequenceClassifierOutput(mean_loss(logits, labels), logits, out.hidden_states, out.attentions)


class EncoderForSequenceClassification(_Labelled):
    """Labels a text by the mean of its tokens, which takes any tokenizer, also one without a token for the row."""

    config_class, body, gather = EncoderConfig, Encoder, staticmethod(mean_token)


class EncoderForTokenClassification(_Labelled):
    """Labels each token."""

    config_class, body, gather = EncoderConfig, Encoder, staticmethod(every_token)


class DecoderForSequenceClassification(_Labelled):
    """Labels a text by its last token, the only one that has seen all."""

    config_class, body, gather = DecoderConfig, Decoder, staticmethod(last_token)


class DecoderForTokenClassification(_Labelled):
    """Labels each token by itself and what comes before it."""

    config_class, body, gather = DecoderConfig, Decoder, staticmethod(every_token)


def mean_loss(logits: Tensor, labels: Tensor | None) -> Tensor | None:
    """-log P(label), the mean over labelled positions; what Hugging Face's models give when they get ``labels``."""
    return (
        None
        if labels is None
        else F.cross_entropy(logits.flatten(0, -2).float(), labels.flatten(), ignore_index=IGNORE)
    )


MODELS: dict[type[TransformerConfig], dict[Any, type[Transformer]]] = {
    EncoderConfig: {
        AutoModel: Encoder,
        AutoModelForMaskedLM: EncoderForMaskedLM,
        AutoModelForSequenceClassification: EncoderForSequenceClassification,
        AutoModelForTokenClassification: EncoderForTokenClassification,
    },
    DecoderConfig: {
        AutoModel: Decoder,
        AutoModelForCausalLM: DecoderForCausalLM,
        AutoModelForSequenceClassification: DecoderForSequenceClassification,
        AutoModelForTokenClassification: DecoderForTokenClassification,
    },
    EncoderDecoderConfig: {
        AutoModel: EncoderDecoder,
        AutoModelForSeq2SeqLM: EncoderDecoderForConditionalGeneration,
    },
}


def register() -> None:
    """Make ``AutoConfig`` and ``AutoModel…`` know the Transformer; more than once does no harm."""
    for config, models in MODELS.items():
        AutoConfig.register(config.model_type, config, exist_ok=True)
        for auto_model, model in models.items():
            auto_model.register(config, model, exist_ok=True)
