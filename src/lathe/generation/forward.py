"""A model that writes, as the runtime of a task: prompts in, the tokens of their answers out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lathe.core.keyed import word
from lathe.generation.generator import Generator, Prompt
from lathe.generation.options import Generation


@dataclass(frozen=True)
class WritingForward:
    """A function from prompts [B, T] to ``sequences`` [B, S], of which ``lengths`` [B] tokens are answers.

    It may be called while the same model is being trained.
    """

    generator: Generator
    options: Generation

    def __call__(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        rows = zip(inputs["input_ids"], inputs["attention_mask"].bool(), strict=True)
        prompts = [prompt_of(row[mask].tolist(), self.generator, self.options) for row, mask in rows]
        answers = self.generator.tokens(prompts, self.options)
        lengths = torch.tensor([len(answer) for answer in answers])
        sequences = torch.zeros(len(answers), int(lengths.max()), dtype=torch.long)
        for row, answer in enumerate(answers):
            sequences[row, : len(answer)] = torch.tensor(answer, dtype=torch.long)
        return {"sequences": sequences, "lengths": lengths}


def prompt_of(ids: Sequence[int], generator: Generator, options: Generation) -> Prompt:
    """Tokens as a prompt: it leaves room for ``options.max_new_tokens``, or its answer is as long as there is room."""
    room = generator.longest - (1 if generator.has_encoder else len(ids))
    return Prompt(tuple(ids), word(" ".join(map(str, ids))), min(room, options.max_new_tokens))
