"""Shapes a model can be made in. To add one: write its file, then name it in this union."""

from typing import Annotated

from pydantic import Field

from lathe.models import transformer_heads
from lathe.models.encoders import Albert, DistilBert, Electra, Roberta
from lathe.models.presets import GPT2, Bert, FromConfig, ModernBert
from lathe.models.transformer_preset import TransformerPreset

AnyModel = Annotated[
    Bert | ModernBert | Roberta | Albert | Electra | DistilBert | GPT2 | TransformerPreset | FromConfig,
    Field(discriminator="kind"),
]

__all__ = [
    "Albert",
    "AnyModel",
    "Bert",
    "DistilBert",
    "Electra",
    "FromConfig",
    "GPT2",
    "ModernBert",
    "Roberta",
    "TransformerPreset",
]

transformer_heads.register()  # so that `AutoModel…` opens our networks wherever Lathe has been imported
