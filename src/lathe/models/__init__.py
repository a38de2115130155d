"""Shapes a model can be made in. To add one: write its file, then name it in this union."""

from typing import Annotated

from pydantic import Field

from lathe.models.presets import GPT2, Bert, FromConfig, ModernBert
from lathe.models.transformer_heads import register
from lathe.models.transformer_preset import TransformerPreset

AnyModel = Annotated[Bert | ModernBert | GPT2 | TransformerPreset | FromConfig, Field(discriminator="kind")]

__all__ = ["AnyModel", "Bert", "FromConfig", "GPT2", "ModernBert", "TransformerPreset"]

register()  # so that `AutoModel` opens our Transformer wherever Lathe has been imported
