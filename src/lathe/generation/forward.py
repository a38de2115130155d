"""A model that writes, as the runtime of a task: prompts in, the tokens of their answers out."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lathe.core.keyed import word
from lathe.core.types import Forward
from lathe.generation.generator import Generator, Prompt
from lathe.generation.options import Generation


def writing_forward(generator: Generator, options: Generation) -> Forward:
    """The model as a function from prompts [B, T] to ``sequences`` [B, S], of which ``lengths`` [B] tokens are answers.

    It may be called while the same model is being trained. A prompt leaves room for ``options.max_new_tokens``, or its
    answer is as long as there is room.
    """

    def forward(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        rows = zip(inputs["input_ids"], inputs["attention_mask"].bool(), strict=True)
        prompts = [_prompt(tuple(row[mask].tolist()), generator, options) for row, mask in rows]
        answers = generator.tokens(prompts, options)
        lengths = torch.tensor([len(answer) for answer in answers])
        sequences = torch.zeros(len(answers), int(lengths.max()), dtype=torch.long)
        for row, answer in enumerate(answers):
            sequences[row, : len(answer)] = torch.tensor(answer, dtype=torch.long)
        return {"sequences": sequences, "lengths": lengths}

    return forward


def _prompt(ids: tuple[int, ...], generator: Generator, options: Generation) -> Prompt:
    room = generator.longest - (1 if generator.has_encoder else len(ids))
    return Prompt(ids, word(" ".join(map(str, ids))), min(room, options.max_new_tokens))
