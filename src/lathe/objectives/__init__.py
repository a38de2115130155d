"""What is minimised in pretraining. To add one: write its file, then name it in this union."""

from typing import Annotated

from pydantic import Field

from lathe.objectives.causal import CausalLM
from lathe.objectives.masked import MaskedLM
from lathe.objectives.pairs import MaskedNSP, MaskedSOP

AnyObjective = Annotated[CausalLM | MaskedLM | MaskedNSP | MaskedSOP, Field(discriminator="kind")]

__all__ = ["AnyObjective", "CausalLM", "MaskedLM", "MaskedNSP", "MaskedSOP"]
