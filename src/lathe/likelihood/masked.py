"""Masked networks: their pseudo-likelihood, which is no probability of a text and is never shown beside one.

log PL(x) = sum_i log p(x_i | all other tokens), each token masked by itself (Wang and Cho, 2019; Salazar et al., 2020).
Every token is predicted from both sides, so the figures are far better than those of causal models, and mean something
else; they compare masked models of the same tokenizer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F
from transformers import PreTrainedModel

from lathe.core import packing
from lathe.core.batches import cut, pad_rows
from lathe.core.errors import BundleError
from lathe.core.keyed import permutation
from lathe.core.rows import encode_texts, frame_of
from lathe.core.runtime import Precision, autocast, dtype_of
from lathe.core.types import Symbols, upcast

TOKENS_AT_ONCE = 8192


class Pseudo(NamedTuple):
    """A masked network on a sample of the tokens of some texts."""

    nats: float
    tokens: int  # in the sample
    of_tokens: int

    def to_json(self) -> dict[str, Any]:
        mean = self.nats / self.tokens
        figures = {"pseudo_perplexity": round(float(np.exp(mean)), 3), "nats_per_token": round(mean, 4)}
        return figures | {"tokens": self.tokens, "of_tokens": self.of_tokens}


@dataclass(frozen=True)
class MaskedNetwork:
    """A network that predicts a masked token from all others of its row."""

    model: PreTrainedModel
    tokenizer: Any
    max_length: int
    precision: Precision = "fp32"

    def pseudo_likelihood(self, texts: Sequence[str], most: int) -> Pseudo:
        """Over at most ``most`` tokens, chosen by their place: each takes a row of its own."""
        if self.tokenizer.mask_token_id is None:
            raise BundleError(f"{self.tokenizer.name_or_path}: the tokenizer has no mask token")
        packing.enable(self.model)
        self.model.eval()
        rows = self._rows(texts)
        places = [(row, at) for row, (_, first, last) in enumerate(rows) for at in range(first, last)]
        chosen = [places[i] for i in np.sort(permutation(len(places), "pseudo-likelihood")[:most])]
        chosen.sort(key=lambda place: -len(rows[place[0]][0]))
        nats = 0.0
        for part in cut(np.array([len(rows[row][0]) for row, _ in chosen], np.int64), TOKENS_AT_ONCE):
            nats += self._forward([(rows[row][0], at) for row, at in chosen[part]])
        return Pseudo(nats, len(chosen), len(places))

    def _rows(self, texts: Sequence[str]) -> list[tuple[list[int], int, int]]:
        """Framed rows, and where their own tokens begin and end."""
        frame = frame_of(self.tokenizer)
        room = self.max_length - len(frame.before) - len(frame.after)
        rows = []
        for ids in (ids for chunk in encode_texts(texts, self.tokenizer) for ids in chunk):
            for start in range(0, len(ids), room):
                inner = ids[start : start + room]
                first = len(frame.before)
                rows.append(([*frame.before, *inner, *frame.after], first, first + len(inner)))
        return rows

    @torch.inference_mode()
    def _forward(self, items: Sequence[tuple[list[int], int]]) -> float:
        place = next(self.model.parameters()).device
        rows = [{"input_ids": ids} for ids, _ in items]
        input_ids, attention_mask = map(torch.from_numpy, pad_rows(rows, Symbols.of(self.tokenizer)))  # [B, T]
        row, at = torch.arange(len(items)), torch.tensor([at for _, at in items])
        wanted = input_ids[row, at].to(place)
        input_ids[row, at] = self.tokenizer.mask_token_id
        index = (row * input_ids.shape[1] + at).to(place)
        with autocast(place, dtype_of(self.precision)), packing.labelled_rows(self.model, index):
            logits = self.model(input_ids=input_ids.to(place), attention_mask=attention_mask.to(place)).logits  # [B, V]
        return float(F.cross_entropy(upcast(logits), wanted, reduction="sum"))
