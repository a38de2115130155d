"""Shapes a model can be made in. To add one: write its file, then name it in this union."""

from typing import Annotated

from pydantic import Field

from lathe.models.presets import GPT2, Bert, FromConfig, ModernBert

AnyModel = Annotated[Bert | ModernBert | GPT2 | FromConfig, Field(discriminator="kind")]

__all__ = ["AnyModel", "Bert", "FromConfig", "GPT2", "ModernBert"]
