"""Vocabulary: the pieces that the data does not use go, and their rows in the tables with them."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field

from lathe.compress.candidate import COMPARED_ROWS, SAVED_TOLERANCE, Candidate, Splits, logits_of, saved
from lathe.compress.pieces import Characters, Reduced, reduced, refuse
from lathe.core.errors import GateError, RecipeError
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.types import Encoded, Symbols, pieces_of
from lathe.core.work import Work
from lathe.models.pretrained import open_model, open_tokenizer, starts_behind_padding
from lathe.models.vocabulary import exchange_tokens, rebuild
from lathe.runtimes.eager import torch_forward
from lathe.tasks import AnyTask
from lathe.tasks.examples import Examples


@recipe
class Vocabulary:
    """Drop the pieces of the vocabulary that the training rows do not use; a text of kept pieces has the same answer.

    Other texts are cut into smaller pieces, down to characters or bytes, and may be answered otherwise.
    """

    kind: Literal["vocabulary"] = "vocabulary"
    min_count: int = Field(1, ge=0)
    """Pieces stay that stand so many times in data.train; 0 keeps all."""
    characters: Characters = "all"
    """Single characters that stay, so that words without a piece can be spelt: all, or those of the training rows, and
    others become the unknown token (of a Chinese vocabulary most are single characters)."""

    def check(self, teacher: Path, tokenizer: Any, splits: Splits, task: AnyTask) -> None:
        """What can be known to be wrong before a model is loaded."""
        if "train" not in splits:
            raise RecipeError("data.train: vocabulary needs rows that say which pieces are used; labels are optional")
        refuse(tokenizer.backend_tokenizer)

    def __call__(self, given: Candidate, teacher: Candidate, work: Work, folder: Path) -> Candidate:
        """``given`` with a smaller vocabulary, saved in ``folder``. Raises ``GateError`` where a kept text changed."""
        task, old = given.predictor.task, given.predictor.tokenizer
        model = open_model(task.auto_model, given.folder).model
        counts = Counter(index for row in given.splits["train"].encoded for index in _ids(row))
        used = {index for index in old.get_vocab().values() if counts[index] >= self.min_count}
        used |= set(old.all_special_ids)
        if starts_behind_padding(model.config):
            used |= set(range(old.pad_token_id))  # the number of the padding token is that of the first position
        left = reduced(old.backend_tokenizer, used, self.characters)
        model.config.save_pretrained(folder)
        new = with_pieces(old, left, folder)
        rebuild(model, {index: [before] for index, before in enumerate(left.ids)}, len(left.ids))
        exchange_tokens(model.config, old, new, multiple=1)
        splits = {name: _reread(examples, task, new) for name, examples in given.splits.items()}
        changed = {name: changes(given.splits[name], splits[name], left.ids) for name in splits}
        if any(one.wrongly for one in changed.values()):
            raise GateError("vocabulary: a text of kept pieces is cut otherwise than before; leave out this step")
        share = changed["validation"].share
        say(f"vocabulary: {len(old):,} -> {len(new):,} pieces; {share:.1%} of the validation rows are cut otherwise")
        predictor = replace(given.predictor, tokenizer=new, forward=torch_forward(model))
        read = replace(given, predictor=predictor, splits=splits)
        _check_answers(given, read, changed["validation"].kept)
        return saved("vocabulary", model, read, folder, {"pieces": len(new), "changed_ratio": share})


class Changes(NamedTuple):
    """Rows before and after."""

    kept: Sequence[int]  # rows with the same pieces
    share: float  # of all rows: those with others
    wrongly: bool  # whether one of them had no need to


def changes(before: Examples, after: Examples, ids: Sequence[int]) -> Changes:
    """``ids`` are the old ones of each new one."""
    left, old_of = set(ids), np.array(ids)
    kept: list[int] = []
    wrongly = False
    for number, (old, new) in enumerate(zip(before.encoded, after.encoded, strict=True)):
        if old_of[_ids(new)].tolist() == _ids(old):
            kept.append(number)
        else:
            wrongly = wrongly or left.issuperset(_ids(old))
    return Changes(kept, 1 - len(kept) / max(1, len(before.encoded)), wrongly)


def with_pieces(tokenizer: Any, left: Reduced, folder: Path) -> Any:
    """The tokenizer with what is left, as it opens from ``folder``, which has a ``config.json``."""
    tokenizer.save_pretrained(folder)
    left.backend.save(str(folder / "tokenizer.json"))
    file = folder / "tokenizer_config.json"
    told = json.loads(file.read_text(encoding="utf-8"))
    if "added_tokens_decoder" in told:  # the same tokens by their old numbers
        del told["added_tokens_decoder"]
        file.write_text(json.dumps(told, ensure_ascii=False, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    opened = open_tokenizer(folder)
    if opened.get_vocab() != left.backend.get_vocab(with_added_tokens=True):
        raise GateError("vocabulary: this kind of tokenizer does not open as it was written; leave out this step")
    return opened


def _ids(row: Encoded) -> list[int]:
    """The pieces of a row, of all its windows."""
    return [int(index) for piece in pieces_of(row) for index in piece["input_ids"]]


def _reread(examples: Examples, task: AnyTask, tokenizer: Any) -> Examples:
    return replace(examples, encoded=task.encode(examples.rows, tokenizer))


def _check_answers(given: Candidate, read: Candidate, kept: Sequence[int]) -> None:
    """Raises ``GateError`` where a text of the same pieces has another answer."""
    if not kept:
        return
    before, after = (
        torch.cat(
            logits_of(
                one.predictor.forward,
                [piece for i in kept[:COMPARED_ROWS] for piece in pieces_of(one.splits["validation"].encoded[i])],
                one.predictor.task,
                Symbols.of(one.predictor.tokenizer),
            )
        )
        for one in (given, read)
    )
    if not torch.allclose(before, after, atol=SAVED_TOLERANCE):
        error = float((before - after).abs().max())
        raise GateError(f"vocabulary: logits of the same pieces differ by up to {error:.1e}; leave out this step")
