"""What is done to the logits of a step before its token is chosen, each row by itself."""

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from lathe.core.keyed import Seeds, row_seeds, uniform
from lathe.generation.options import Generation, Sample, beams_of


def processors(options: Generation, size: int, of_prompt: Tensor, keys: Seeds, first: int) -> LogitsProcessorList:
    """The changes in their order; ``first`` tokens stand before the answer.

    ``of_prompt`` [B, T] is 1 where a token of the prompt stands, ``keys`` [B] are what draws depend on, ``size`` is
    that of the vocabulary.
    """
    found: list[LogitsProcessor] = [InVocabulary(size)]
    of_prompt = of_prompt.repeat_interleave(beams_of(options), 0)
    found += [Repetition(options.repetition_penalty, of_prompt)] if options.repetition_penalty != 1 else []
    found += [NoRepeat(options.no_repeat_ngram_size, of_prompt)] if options.no_repeat_ngram_size else []
    if isinstance(how := options.decoding, Sample):
        found += [TemperatureLogitsWarper(how.temperature)] if how.temperature != 1 else []
        found += [TopKLogitsWarper(how.top_k)] if how.top_k else []
        found += [TopPLogitsWarper(how.top_p)] if how.top_p else []
        found += [MinPLogitsWarper(how.min_p)] if how.min_p else []
        found.append(Draw(row_seeds(how.seed, 0, keys), first))
    return LogitsProcessorList(found)


class InVocabulary(LogitsProcessor):
    """The rows that round the table of embeddings up stand for no token."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return scores.index_fill(1, torch.arange(self.size, scores.shape[1], device=scores.device), -torch.inf)


class Repetition(LogitsProcessor):
    """z / penalty where z > 0, else z * penalty, for the tokens that stand in prompt and answer; padding does not."""

    def __init__(self, penalty: float, of_prompt: Tensor) -> None:
        self.penalty, self.of_prompt = penalty, of_prompt

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        there = standing(input_ids, self.of_prompt)
        seen = torch.zeros_like(scores, dtype=torch.long).scatter_add_(1, input_ids, there) > 0  # [rows, V]
        return torch.where(seen, torch.where(scores > 0, scores / self.penalty, scores * self.penalty), scores)


class NoRepeat(LogitsProcessor):
    """No token that would make ``size`` tokens in a row stand twice in prompt and answer."""

    def __init__(self, size: int, of_prompt: Tensor) -> None:
        self.size, self.of_prompt = size, of_prompt

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        scores, before = scores.clone(), self.size - 1
        there = standing(input_ids, self.of_prompt).bool()
        for row, mask in enumerate(there):
            ids = input_ids[row][mask].tolist()
            last = ids[len(ids) - before :] if before <= len(ids) else None
            scores[row, [ids[i + before] for i in range(len(ids) - before) if ids[i : i + before] == last]] = -torch.inf
        return scores


def standing(input_ids: Tensor, of_prompt: Tensor) -> Tensor:
    """[rows, T] 1 where a token of prompt or answer stands, 0 where padding does."""
    return F.pad(of_prompt, (0, input_ids.shape[1] - of_prompt.shape[1]), value=1)


class Draw(LogitsProcessor):
    """Leaves one token: the first whose cumulated probability exceeds a number that is the row's and the step's own."""

    def __init__(self, seeds: Seeds, first: int) -> None:
        self.seeds, self.first = seeds, first

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        step = input_ids.shape[1] - self.first
        number = torch.from_numpy(uniform(self.seeds, f"generate/{step}", 1)).to(scores.device)  # [B, 1]
        total = scores.double().softmax(-1).cumsum(-1)  # [B, V]
        chosen = torch.searchsorted(total / total[:, -1:], number, right=True)  # [B, 1]
        return torch.full_like(scores, -torch.inf).scatter(1, chosen, 0.0)
