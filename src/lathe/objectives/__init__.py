"""What is minimised in pretraining. To add one: write its file, then name it in this union."""

from typing import Annotated

from pydantic import Field

from lathe.objectives.causal import CausalLM
from lathe.objectives.masked import MaskedLM

AnyObjective = Annotated[CausalLM | MaskedLM, Field(discriminator="kind")]

__all__ = ["AnyObjective", "CausalLM", "MaskedLM"]
