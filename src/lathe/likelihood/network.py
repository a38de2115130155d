"""Causal networks as language models, with sliding windows over texts that are longer than a row."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from lathe.core import packing
from lathe.core.batches import cut, pad_rows
from lathe.core.rows import Frame, encode_texts, frame_of
from lathe.core.runtime import Precision, autocast, dtype_of
from lathe.core.types import IGNORE, Symbols, upcast
from lathe.likelihood.hybrid import Guide, heard, joined
from lathe.likelihood.protocol import Counted, Floats, Windows, spelt
from lathe.ngrams.units import is_restored, surfaces

TOKENS_AT_ONCE = 8192


class Window(NamedTuple):
    """A row of a text: its last ``predicted`` tokens are predicted, the others are context."""

    text: int  # which one
    first: int  # place of the first predicted token among the text's predictions
    tokens: list[int]
    predicted: int


@dataclass(frozen=True)
class CausalNetwork:
    """A network that predicts each token from those before it, in rows of at most ``max_length`` tokens.

    The end of a text is the token that training has put there. Where a tokenizer puts none in front, nothing predicts a
    text's first token: it costs as much as any of the vocabulary, log V, or what the n-grams say that it was guided by.
    """

    model: PreTrainedModel
    tokenizer: Any
    max_length: int
    windows: Windows = Windows()
    precision: Precision = "fp32"
    guide: Guide | None = None
    """n-grams that it has learnt beside."""

    def score(self, texts: Sequence[str]) -> list[Counted]:
        encoded = [list(ids) for chunk in encode_texts(texts, self.tokenizer) for ids in chunk]
        end = [*(self._frame.end or self._frame.after)][:1]
        targets = [[*ids, *end] for ids in encoded]
        log_probs: list[Floats] = [np.full(len(ids), self._of_first(ids)) for ids in targets]
        windows = [window for number, ids in enumerate(targets) for window in self._windows(number, ids)]
        windows.sort(key=lambda window: -len(window.tokens))
        for part in cut(np.array([len(window.tokens) for window in windows], np.int64), TOKENS_AT_ONCE):
            for window, found in zip(windows[part], self._forward(windows[part]), strict=True):
                log_probs[window.text][window.first : window.first + window.predicted] = found
        unknown = map(self._unknown, texts, encoded)
        return [spelt(found, spelling) for found, spelling in zip(log_probs, unknown, strict=True)]

    def restores(self, text: str) -> bool:
        return is_restored(self.tokenizer.backend_tokenizer, text)

    def _of_first(self, ids: Sequence[int]) -> float:
        """log p of a text's first token, where no start is read before it."""
        return self.guide.says_first(ids[0]) if self.guide is not None and ids else -math.log(len(self.tokenizer))

    @cached_property
    def _frame(self) -> Frame:
        packing.enable(self.model)
        self.model.eval()
        return frame_of(self.tokenizer)

    def _windows(self, number: int, targets: list[int]) -> list[Window]:
        before = list(self._frame.before)
        room = self.max_length - len(before)  # as in training, the last token of a row is predicted, but not read
        stride = max(1, min(room - 1, round(self.windows.stride_ratio * room)))
        windows: list[Window] = []
        done = 0 if before else 1
        while done < len(targets):
            stop = min(len(targets), room if not windows else done + stride)
            windows.append(Window(number, done, before + targets[max(0, stop - room) : stop], stop - done))
            done = stop
        return windows

    @torch.inference_mode()
    def _forward(self, windows: Sequence[Window]) -> list[Floats]:
        """log p of the predicted tokens of each window."""
        place = next(self.model.parameters()).device
        rows = [{"input_ids": window.tokens[:-1]} for window in windows]
        input_ids, attention_mask = map(torch.from_numpy, pad_rows(rows, Symbols.of(self.tokenizer)))  # [B, T]
        labels = torch.full_like(input_ids, IGNORE)
        for row, window in enumerate(windows):
            stop = len(window.tokens) - 1
            labels[row, stop - window.predicted : stop] = torch.tensor(window.tokens[-window.predicted :])
        index = (labels.flatten() != IGNORE).nonzero().flatten().to(place)  # [M]
        wanted = labels.flatten().to(place)[index]
        said: Tensor | None = None
        hears: AbstractContextManager[None] = nullcontext()
        if self.guide is not None:
            said = torch.from_numpy(np.concatenate([self.guide.says(window.tokens) for window in windows])).to(place)
            hears = heard(self.model, said, attention_mask.flatten().nonzero().flatten().to(place))
        with autocast(place, dtype_of(self.precision)), packing.labelled_rows(self.model, index), hears:
            logits = self.model(input_ids=input_ids.to(place), attention_mask=attention_mask.to(place)).logits  # [M, V]
        logits = upcast(logits)
        if self.guide is not None and said is not None:
            logits = joined(logits, said[(labels != IGNORE)[attention_mask == 1].to(place)], self.guide.sentinel)
        found = -F.cross_entropy(logits, wanted, reduction="none").double().cpu().numpy()
        return np.split(found, np.cumsum([window.predicted for window in windows])[:-1])

    def _unknown(self, text: str, ids: Sequence[int]) -> dict[int, str]:
        unknown = self.tokenizer.unk_token_id
        if unknown is None or unknown not in ids:
            return {}
        units = surfaces(self.tokenizer.backend_tokenizer, text)
        return {place: units[place] for place, token in enumerate(ids) if token == unknown}
