"""How text is made: how each token is chosen, and what ends an answer."""

from typing import Annotated, Literal

from pydantic import Field

from lathe.core.recipe import recipe

LEAST_TEMPERATURE = 1e-4
"""Below it nothing is drawn but the likeliest token, and logits divided by it may be no numbers any more."""


@recipe
class Greedy:
    """The likeliest token, one after the other."""

    kind: Literal["greedy"] = "greedy"


@recipe
class Beam:
    """The likeliest of the texts that ``num_beams`` searches at a time come upon."""

    kind: Literal["beam"] = "beam"
    num_beams: int = Field(4, ge=2)
    """Texts that are gone on with at each step."""
    length_penalty: float = Field(1.0, ge=-10, le=10)
    """The sum of log probabilities is divided by length to this power: above 0 favours longer texts."""


@recipe
class Sample:
    """A token drawn with the probability that the model gives it, after these changes, in this order."""

    kind: Literal["sample"] = "sample"
    temperature: float = Field(1.0, ge=LEAST_TEMPERATURE)
    """Logits are divided by it: below 1 likely tokens become likelier."""
    top_k: int | None = Field(None, ge=1)
    """Only so many of the likeliest tokens are kept."""
    top_p: float | None = Field(None, gt=0, le=1)
    """Only the fewest tokens are kept that have this probability together (Holtzman et al., 2020)."""
    min_p: float | None = Field(None, ge=0, le=1)
    """Only tokens are kept that are at least so likely, as a share of the likeliest one's probability."""
    seed: int = 0
    """Another seed, another text; the same seed, the same text."""


AnyDecoding = Annotated[Greedy | Beam | Sample, Field(discriminator="kind")]


@recipe
class Generation:
    """How text is made."""

    decoding: AnyDecoding = Greedy()
    """How each token is chosen."""
    special_tokens: bool = False
    """Whether the name of a special token in a prompt, ``<extra_id_0>`` say, is that token; else it is text."""
    max_new_tokens: int = Field(128, ge=1)
    """Most tokens of an answer; less where the model has room for less."""
    repetition_penalty: float = Field(1.0, ge=0.01, le=100)
    """Logits of tokens that stand already are divided by it, negative ones multiplied (Keskar et al., 2019)."""
    no_repeat_ngram_size: int = Field(0, ge=0)
    """No so many tokens in a row twice; 0: no limit."""
    stop: tuple[str, ...] = ()
    """An answer ends before the first of these texts."""
    batch_size: int = Field(16, ge=1)
    """Prompts answered at a time; this changes speed, nothing else."""


def beams_of(options: Generation) -> int:
    """How many texts are gone on with at a time."""
    return options.decoding.num_beams if isinstance(options.decoding, Beam) else 1
