"""BERT and the encoders of the years after it by size: RoBERTa, ALBERT, ELECTRA, DistilBERT."""

from typing import Any, Literal

from pydantic import Field
from transformers import AlbertConfig, BertConfig, DistilBertConfig, ElectraConfig, PretrainedConfig, RobertaConfig

from lathe.core.recipe import recipe
from lathe.models.presets import check_heads, rounded


@recipe
class Encoder:
    """What encoders of BERT's shape have in common: post-norm layers, learned positions, GELU."""

    hidden_size: int = Field(256, ge=1)
    """Width D."""
    num_hidden_layers: int = Field(4, ge=1)
    """Layers."""
    num_attention_heads: int = Field(4, ge=1)
    """Heads; they divide the width."""
    intermediate_size: int | None = Field(None, ge=1)
    """Width of the feed-forward part; four times the width where not given."""
    max_position_embeddings: int = Field(512, ge=2)
    """Longest row in tokens."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout of hidden states and attention."""
    pad_to_multiple_of: int = Field(64, ge=1)
    """The table of embeddings gets a multiple of this many rows."""

    def _values(self, tokenizer: Any) -> dict[str, Any]:
        check_heads(self.hidden_size, self.num_attention_heads)
        return {
            "vocab_size": rounded(len(tokenizer), self.pad_to_multiple_of),
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "intermediate_size": self.intermediate_size or 4 * self.hidden_size,
            "max_position_embeddings": self.max_position_embeddings,
            "hidden_dropout_prob": self.dropout,
            "attention_probs_dropout_prob": self.dropout,
            "pad_token_id": tokenizer.pad_token_id,
        }

    def _framed(self, tokenizer: Any) -> dict[str, Any]:
        """The same, with the tokens that stand before and behind a text."""
        return self._values(tokenizer) | {
            "bos_token_id": tokenizer.cls_token_id,
            "eos_token_id": tokenizer.sep_token_id,
        }


@recipe
class Bert(Encoder):
    """An encoder of BERT's shape (Devlin et al., 2019): post-norm layers, learned positions, GELU."""

    kind: Literal["bert"] = "bert"

    def config(self, tokenizer: Any) -> PretrainedConfig:
        return BertConfig(**self._values(tokenizer))


@recipe
class Roberta(Encoder):
    """An encoder of RoBERTa's shape (Liu et al., 2019): BERT's with one token type."""

    kind: Literal["roberta"] = "roberta"

    def config(self, tokenizer: Any) -> PretrainedConfig:
        first = tokenizer.pad_token_id + 1  # position
        positions = {"max_position_embeddings": self.max_position_embeddings + first}
        return RobertaConfig(**self._framed(tokenizer) | positions, type_vocab_size=1, layer_norm_eps=1e-5)


@recipe
class Albert(Encoder):
    """An encoder of ALBERT's shape (Lan et al., 2020): one layer many times over, narrow embeddings."""

    kind: Literal["albert"] = "albert"
    embedding_size: int = Field(128, ge=1)
    """Width of the embeddings."""
    num_hidden_groups: int = Field(1, ge=1)
    """Different layers: each stands for a run of layers with the same weights."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout of hidden states and attention."""

    def config(self, tokenizer: Any) -> PretrainedConfig:
        return AlbertConfig(
            **self._framed(tokenizer), embedding_size=self.embedding_size, num_hidden_groups=self.num_hidden_groups
        )


@recipe
class Electra(Encoder):
    """An encoder of ELECTRA's shape (Clark et al., 2020): BERT's with narrow embeddings."""

    kind: Literal["electra"] = "electra"
    embedding_size: int = Field(128, ge=1)
    """Width of the embeddings."""

    def config(self, tokenizer: Any) -> PretrainedConfig:
        return ElectraConfig(**self._framed(tokenizer), embedding_size=self.embedding_size)


@recipe
class DistilBert(Encoder):
    """An encoder of DistilBERT's shape (Sanh et al., 2019): BERT's without token types and pooler."""

    kind: Literal["distilbert"] = "distilbert"

    def config(self, tokenizer: Any) -> PretrainedConfig:
        values = self._framed(tokenizer)
        renamed = {
            "intermediate_size": "hidden_dim",
            "hidden_dropout_prob": "dropout",
            "attention_probs_dropout_prob": "attention_dropout",
        }
        return DistilBertConfig(**{renamed.get(name, name): value for name, value in values.items()})
