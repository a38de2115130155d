"""Replaced-token detection (Clark et al., 2020): a small generator fills masks, the model tells which tokens it made.

L = -sum_i log P_G(x_i | masked row) / |M| - weight * sum_t log P_D(x'_t is what it was | filled row) / N
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from transformers import ElectraConfig, PreTrainedConfig

from lathe.core.errors import RecipeError
from lathe.core.keyed import Seeds, uniform
from lathe.core.recipe import recipe
from lathe.core.types import IGNORE, Batch, Encoded, Part, Symbols, upcast
from lathe.objectives.electra import PairMaker
from lathe.objectives.masking import Masking
from lathe.objectives.text import mask_token
from lathe.objectives.vocabulary import labelled, labels_only, vocabulary_part


@recipe
class ReplacedTokens(Masking):
    """Tell for each token whether a small generator, which learns beside, has put it in the place of another.

    The generator's samples carry no gradient. One that is the original token counts as original. The loss of the
    discriminator is over all tokens of the text, special ones too.
    """

    kind: Literal["replaced"] = "replaced"
    mlm_probability: float = Field(0.15, gt=0, lt=1)
    """Share of the tokens that the generator fills in."""
    mask_ratio: float = Field(1.0, ge=0, le=1)
    """Share of these that are replaced by the mask token."""
    random_ratio: float = Field(0.0, ge=0, le=1)
    """Share of these that are replaced by a random token; the rest is left as it is."""
    generator_size: float = Field(0.25, gt=0, le=1)
    """Width of the generator, as a share of the discriminator's."""
    discriminator_weight: float = Field(50.0, gt=0)
    """Weight of the discriminator's loss beside the generator's, which is much larger."""

    @property
    def auto_model(self) -> Any:
        """Of the pair: the generator's size is an option."""
        return PairMaker(self.generator_size)

    def check_model(self, shape: PreTrainedConfig, symbols: Symbols) -> None:
        if not isinstance(shape, ElectraConfig):
            raise RecipeError(
                f"objective.kind: replaced needs a model of type 'electra', whose head tells replaced tokens; "
                f"{shape.model_type!r} has none. Set model.kind=electra"
            )
        mask_token(symbols, self.kind)

    def collate(self, rows: Sequence[Encoded], seeds: Seeds, symbols: Symbols) -> Batch:
        inputs, labels = self.mask(rows, seeds, symbols)
        draws = torch.from_numpy(uniform(seeds, "replaced/sample", labels.shape[1]))  # [B, T]
        items = {"masked": labelled(labels), self.kind: int(inputs["attention_mask"].sum())}
        return Batch(inputs, {"labels": labels, "draws": draws}, items)

    def loss(self, model: Any, batch: Batch) -> list[Part]:
        with labels_only(model.generator, batch) as labels:
            logits = model.generator(**batch.inputs).logits  # [M, V]
        chosen = batch.targets["labels"] != IGNORE  # [B, T]
        original = torch.where(chosen, batch.targets["labels"], batch.inputs["input_ids"])
        filled = original.masked_scatter(chosen, sample(logits.detach(), batch.targets["draws"][chosen]))
        scores = upcast(model.discriminator(**{**batch.inputs, "input_ids": filled}).logits)  # [B, T]
        is_replaced, is_token = (filled != original).to(scores.dtype), batch.inputs["attention_mask"].to(scores.dtype)
        total = F.binary_cross_entropy_with_logits(scores, is_replaced, weight=is_token, reduction="sum")
        found = Part(self.kind, total, batch.items[self.kind], self.discriminator_weight)
        return [vocabulary_part(logits, labels, "masked"), found]


def sample(logits: Tensor, draws: Tensor) -> Tensor:
    """A token of each distribution, by the number in [0, 1) that was drawn for it.  [M, V], [M] -> [M]

    >>> sample(torch.log(torch.tensor([[0.2, 0.5, 0.3]])).repeat(3, 1), torch.tensor([0.1, 0.6, 0.99])).tolist()
    [0, 1, 2]
    """
    distribution = upcast(logits).softmax(-1).cumsum(-1)
    at = draws.to(distribution.dtype).unsqueeze(-1) * distribution[:, -1:]
    return torch.searchsorted(distribution, at, right=True).squeeze(-1).clamp(max=logits.shape[-1] - 1)
