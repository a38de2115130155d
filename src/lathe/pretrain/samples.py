"""What a generative model writes while it learns: the beginnings of held-out rows, gone on with."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedModel

from lathe.core.runtime import Precision
from lathe.generation import Generation, Generator, Sample, text_of
from lathe.pretrain.evaluation import HeldOut

SAMPLES, PROMPT_TOKENS, NEW_TOKENS = 3, 8, 40


def samples(
    model: PreTrainedModel, tokenizer: Any, held_out: Sequence[HeldOut], precision: Precision
) -> list[dict[str, str]]:
    """``prompt`` and ``text`` of a few rows of each text: the same rows and the same draws every time.

    Plain draws from the model: what it thinks, not its best side.
    """
    prompts = [prompt for one in held_out for prompt in _beginnings(one, tokenizer)]
    answers = Generator(model, tokenizer, precision)(prompts, Generation(decoding=Sample(), max_new_tokens=NEW_TOKENS))
    return [{"prompt": prompt, "text": answer.text} for prompt, answer in zip(prompts, answers, strict=True)]


def _beginnings(one: HeldOut, tokenizer: Any) -> list[str]:
    """Of some of its rows; at most half of a row."""
    special = set(tokenizer.all_special_ids)
    found = []
    for row in one.rows(SAMPLES):
        ids = [token for token in one.tokens[int(row)]["input_ids"].tolist() if token not in special]
        found.append(text_of(tokenizer, ids[: min(PROMPT_TOKENS, (len(ids) + 1) // 2)]))
    return [text for text in found if text.strip()]
