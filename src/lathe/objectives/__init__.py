"""What is minimised in pretraining. To add one: write its file, then name it in this union."""

from typing import Annotated

from pydantic import Field

from lathe.objectives.causal import CausalLM
from lathe.objectives.masked import MaskedLM
from lathe.objectives.pairs import MaskedNSP, MaskedSOP
from lathe.objectives.replaced import ReplacedTokens
from lathe.objectives.simcse import SimCSE

AnyObjective = Annotated[
    CausalLM | MaskedLM | MaskedNSP | MaskedSOP | ReplacedTokens | SimCSE, Field(discriminator="kind")
]

__all__ = ["AnyObjective", "CausalLM", "MaskedLM", "MaskedNSP", "MaskedSOP", "ReplacedTokens", "SimCSE"]
