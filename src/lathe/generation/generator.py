"""A language model as a function from prompts to answers, by transformers' ``generate``.

An answer is a function of model, prompt and options: it depends neither on the prompts beside it nor on how many are
answered at a time. transformers alone does not give that: its draws come from one generator for the whole batch, and
its penalties count the padding of a row as if it had been written.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM, GenerationConfig, StoppingCriteriaList

from lathe.core.bundle import Bundle
from lathe.core.data import RowError
from lathe.core.errors import BundleError, DataError
from lathe.core.keyed import word
from lathe.core.rows import frame_of
from lathe.core.runtime import Precision, autocast, dtype_of, set_up
from lathe.core.types import Symbols
from lathe.generation.choosing import processors
from lathe.generation.options import Beam, Generation
from lathe.generation.writing import Answers, Generated, Stop, Streamer, Write
from lathe.models.pretrained import language_model_class, longest_input, open_model, open_tokenizer


class Prompt(NamedTuple):
    """A prompt as its model reads it."""

    ids: tuple[int, ...]
    key: int  # of its draws
    room: int  # most tokens of its answer


@dataclass(frozen=True)
class Generator:
    """Prompts in, answers out, in the same order.

    >>> write = load_generator("runs/stories")                            # doctest: +SKIP
    >>> write(["Once upon a time"])[0].text                               # doctest: +SKIP
    >>> write(["Once"], Generation(decoding=Sample(seed=1), stop=("\\n",)))  # doctest: +SKIP
    """

    model: Any
    tokenizer: Any
    precision: Precision = "fp32"
    more_ends: tuple[int, ...] = ()  # tokens that end an answer, beside those that end a text

    def __call__(
        self, prompts: Sequence[str], options: Generation | None = None, write: Write | None = None
    ) -> list[Generated]:
        """Answers. ``write``, for one prompt, gets the text as it comes; of beams, which change their mind, at the end.

        Raises ``DataError`` for a prompt that the model cannot take.
        """
        if isinstance(prompts, str) or not isinstance(prompts, Sequence):
            raise DataError(f"give a list of prompts, not {type(prompts).__name__}: model([...])")
        seen: Counter[str] = Counter()
        options = options or Generation()
        try:
            read = [self.read(prompt, options, seen) for prompt in prompts]
        except RowError as error:
            raise DataError(f"prompt {str(error.value)[:60]!r}: {error.reason}; {error.fix}") from None
        return self.answer(read, options, write)

    def read(self, text: str, options: Generation, seen: Counter[str]) -> Prompt:
        """``seen`` counts the prompts before it: the same prompt draws anew. Raises ``RowError``."""
        seen[text] += 1
        clean = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate is in no vocabulary
        names = {"split_special_tokens": not options.special_tokens}
        ids = tuple(self.tokenizer.encode(clean, add_special_tokens=self.has_encoder, **names))
        if not self.has_encoder:  # what stands after a text ends it: a decoder goes on, so only what stands before
            ids = (*self._frame.before, *ids) or self._start
        if not ids:
            raise RowError("text", text, "is empty, and this tokenizer has no token to begin with", "give a first word")
        room = self.longest - (1 if self.has_encoder else len(ids))
        if room < 1 or len(ids) > self.longest:
            way = f"shorten it to less than {self.longest:,}"
            raise RowError("text", text, f"has {len(ids):,} tokens, and the model takes {self.longest:,}", way)
        return Prompt(ids, word(f"{seen[text]}/{text}"), min(room, options.max_new_tokens))

    def answer(self, prompts: Sequence[Prompt], options: Generation, write: Write | None = None) -> list[Generated]:
        """The answers to prompts that have been read."""
        found: dict[int, Generated] = {}
        for part in _parts(prompts, options.batch_size):
            answers, new = self._batch([prompts[i] for i in part], options, write)
            found |= {index: answers.read(row, new[row]) for row, index in enumerate(part)}
        if write and isinstance(options.decoding, Beam):
            write(found[0].text)
        return [found[index] for index in range(len(prompts))]

    def tokens(self, prompts: Sequence[Prompt], options: Generation) -> list[list[int]]:
        """The tokens of the answers, up to the one that ends each."""
        found: dict[int, list[int]] = {}
        for part in _parts(prompts, options.batch_size):
            _, new = self._batch([prompts[i] for i in part], options, None)
            found |= {
                index: list(takewhile(lambda token: token not in self.ends, new[row])) for row, index in enumerate(part)
            }
        return [found[index] for index in range(len(prompts))]

    def _batch(
        self, prompts: Sequence[Prompt], options: Generation, write: Write | None
    ) -> tuple[Answers, list[list[int]]]:
        """What reads the answers to some prompts, and their tokens with what comes behind them.  [B][S]"""
        place = next(self.model.parameters()).device
        ids, mask = self._pad(prompts)
        first = 1 if self.has_encoder else ids.shape[1]  # tokens before the answer
        before = [() if self.has_encoder else prompt.ids for prompt in prompts]
        answers = Answers(self.tokenizer, before, first, self.ends, options.stop, self._symbols.pad)
        of_prompt = torch.zeros(len(prompts), 1, dtype=torch.long) if self.has_encoder else mask
        keys = np.array([prompt.key for prompt in prompts], np.uint64)
        streamed = write is not None and not isinstance(options.decoding, Beam)
        self.model.eval()
        with torch.inference_mode(), autocast(place, dtype_of(self.precision)):
            made = self.model.generate(
                ids.to(place),
                attention_mask=mask.to(place),
                generation_config=self._config(options, prompts[0].room),
                logits_processor=processors(options, len(self.tokenizer), of_prompt.to(place), keys, first),
                stopping_criteria=StoppingCriteriaList([Stop(answers)]) if options.stop else None,
                streamer=Streamer(answers, write) if write and streamed else None,
            )
        return answers, made[:, first:].tolist()

    def _pad(self, prompts: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
        """[B, T] ids and mask: on the left where the answer goes on from the prompt, so that all end together."""
        longest = max(len(prompt.ids) for prompt in prompts)
        ids = torch.full((len(prompts), longest), self._symbols.pad)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            place = slice(0, len(prompt.ids)) if self.has_encoder else slice(longest - len(prompt.ids), longest)
            ids[row, place], mask[row, place] = torch.tensor(prompt.ids), 1
        return ids, mask

    def _config(self, options: Generation, room: int) -> GenerationConfig:
        beams = options.decoding if isinstance(options.decoding, Beam) else None
        return GenerationConfig(
            max_new_tokens=room,
            min_length=0,
            do_sample=False,  # draws are ours: `choosing.Draw`
            num_beams=beams.num_beams if beams else 1,
            length_penalty=beams.length_penalty if beams else 1.0,
            repetition_penalty=1.0,  # ours, too: `choosing.Repetition`, `choosing.NoRepeat`
            no_repeat_ngram_size=0,
            eos_token_id=sorted(self.ends) or None,
            pad_token_id=self._symbols.pad,
            use_cache=getattr(self.model, "_supports_cache_class", True),
        )

    @property
    def has_encoder(self) -> bool:
        """Whether a prompt is answered (by a decoder beside its encoder) or gone on with."""
        return bool(self.model.config.is_encoder_decoder)

    @cached_property
    def ends(self) -> frozenset[int]:
        """Tokens that end a text: the model's, and what the tokenizer puts after one."""
        given = self.model.generation_config.eos_token_id
        own = given if isinstance(given, list) else [] if given is None else [given]
        return frozenset([*self.more_ends, *own, *self._frame.after[:1], *self._frame.end[:1]])

    @cached_property
    def _frame(self) -> Any:
        return frame_of(self.tokenizer)

    @cached_property
    def _start(self) -> tuple[int, ...]:
        start = self.tokenizer.bos_token_id
        return () if start is None else (start,)

    @cached_property
    def _symbols(self) -> Symbols:
        return Symbols.of(self.tokenizer)

    @cached_property
    def longest(self) -> int:
        """Most tokens that the model takes."""
        return longest_input(self.tokenizer, self.model.config, limit=1 << 30)


def _parts(prompts: Sequence[Prompt], size: int) -> Iterator[list[int]]:
    """Prompts of like length together; one batch has one room, or a short row would run out of positions."""
    by_room: dict[int, list[int]] = defaultdict(list)
    for index, prompt in enumerate(prompts):
        by_room[prompt.room].append(index)
    for rows in by_room.values():
        rows.sort(key=lambda index: len(prompts[index].ids))
        yield from (rows[start : start + size] for start in range(0, len(rows), size))


def load_generator(path: str | Path, precision: Precision = "fp32") -> Generator:
    """Open a finished language model that can write: causal, or sequence to sequence.

    Every file is compared with its digest first. Raises ``BundleError`` for any other model.
    """
    bundle = Bundle.open(Path(path), kind="model")
    auto_model = refuse_silent(bundle)
    bundle.verify()
    set_up()
    return Generator(open_model(auto_model, bundle.path).model, open_tokenizer(bundle.path), precision)


def refuse_silent(bundle: Bundle) -> Any:
    """The class of a model that can write. Raises ``BundleError`` for one that cannot."""
    task, runtime = bundle.manifest.task, bundle.manifest.runtime
    if task is not None:
        raise BundleError(
            f"{bundle.path}: cannot generate; it has learnt to {task.get('kind', 'answer')}: use `lathe predict`"
        )
    if runtime is None or runtime.kind != "torch":
        raise BundleError(f"{bundle.path}: cannot generate; its runtime is {runtime.kind if runtime else 'not named'}")
    auto_model = language_model_class(bundle.path)
    if auto_model is AutoModelForMaskedLM:
        raise BundleError(
            f"{bundle.path}: cannot generate; it fills gaps, and sees both sides of them. Pretrain a model with "
            "objective.kind=causal for that"
        )
    return auto_model
