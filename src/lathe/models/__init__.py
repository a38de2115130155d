"""Shapes a model can be made in. To add one: write its file, then name it in this union."""

from typing import Annotated

from pydantic import Field

from lathe.models import early, transformer_heads
from lathe.models.decoders import Llama, Qwen3
from lathe.models.early_presets import LSTM, NeuralNGram
from lathe.models.encoders import Albert, Bert, DistilBert, Electra, Roberta
from lathe.models.presets import GPT2, FromConfig, ModernBert
from lathe.models.sequences import T5, Bart, XLNet
from lathe.models.transformer_preset import TransformerPreset

AnyModel = Annotated[
    Bert
    | ModernBert
    | Roberta
    | Albert
    | Electra
    | DistilBert
    | GPT2
    | Llama
    | Qwen3
    | T5
    | Bart
    | XLNet
    | TransformerPreset
    | NeuralNGram
    | LSTM
    | FromConfig,
    Field(discriminator="kind"),
]

__all__ = [
    "Albert",
    "AnyModel",
    "Bart",
    "Bert",
    "DistilBert",
    "Electra",
    "FromConfig",
    "GPT2",
    "LSTM",
    "Llama",
    "ModernBert",
    "NeuralNGram",
    "Qwen3",
    "Roberta",
    "T5",
    "TransformerPreset",
    "XLNet",
]

transformer_heads.register()  # so that `AutoModel…` opens our networks wherever Lathe has been imported
early.register()
