"""What is minimised in pretraining. To add one: write its file, then name it in this union."""

from typing import Annotated

from pydantic import Field

from lathe.objectives.causal import CausalLM
from lathe.objectives.corrupted import SpanCorruption
from lathe.objectives.denoising import Denoising
from lathe.objectives.masked import MaskedLM
from lathe.objectives.pairs import MaskedNSP, MaskedSOP
from lathe.objectives.permuted import PermutationLM
from lathe.objectives.prefix import PrefixLM
from lathe.objectives.replaced import ReplacedTokens
from lathe.objectives.simcse import SimCSE

AnyObjective = Annotated[
    CausalLM
    | Denoising
    | MaskedLM
    | MaskedNSP
    | MaskedSOP
    | PermutationLM
    | PrefixLM
    | ReplacedTokens
    | SimCSE
    | SpanCorruption,
    Field(discriminator="kind"),
]

__all__ = [
    "AnyObjective",
    "CausalLM",
    "Denoising",
    "MaskedLM",
    "MaskedNSP",
    "MaskedSOP",
    "PermutationLM",
    "PrefixLM",
    "ReplacedTokens",
    "SimCSE",
    "SpanCorruption",
]
