"""``lathe pack``: text becomes rows of tokens on disk, read without loading, which pretraining takes as they are."""

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from lathe.core.bundle import Bundle, Manifest
from lathe.core.documents import Split, read_texts, splits_of
from lathe.core.errors import DataError
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.tokens import Header, TokenFile
from lathe.core.work import Work, run_stage
from lathe.models.pretrained import open_tokenizer
from lathe.objectives import AnyObjective, MaskedLM


@recipe
class Recipe:
    text: Path
    """Corpus bundle, each of whose splits is packed, or a file of text, JSONL, CSV or Parquet, plain or compressed."""
    tokenizer: Path
    """Folder of the tokenizer."""
    max_length: int = Field(128, ge=2)
    """Longest row in tokens; longer documents become several rows."""
    objective: AnyObjective = MaskedLM()
    """What the rows are for: some objectives cut rows at sentences, mark words, or add special tokens."""


def run(recipe: Recipe, out: Path) -> Bundle:
    """Pack; ``lathe pretrain data.train=OUT`` with this tokenizer, length and objective learns from it."""
    return run_stage("pack", recipe, out, [recipe.text, recipe.tokenizer], partial(make, recipe))


def make(recipe: Recipe, work: Work) -> Manifest:
    """A token folder for each split; of what an earlier call made nothing is made again."""
    tokenizer = open_tokenizer(recipe.tokenizer)
    recipe.objective.prepare_tokenizer(tokenizer, recipe.max_length, is_new=True)
    splits: tuple[Split, ...] = splits_of(recipe.text) if recipe.text.is_dir() else ("train",)
    scores: dict[str, Any] = {}
    try:
        for split in splits:
            folder = work.checkpoints / split
            if not folder.is_dir():
                texts = read_texts(recipe.text, split)
                TokenFile.write(folder, texts, tokenizer, recipe.max_length, recipe.objective.layout)
            tokens = TokenFile.open(folder)
            if not len(tokens):
                raise DataError(f"{recipe.text}: its {split} text holds no token; name a text that does")
            recipe.objective.check_rows(tokens, recipe.text)
            scores[split] = _told(split, tokens.header)
    except DataError:  # of no use to the recipe that will be right
        shutil.rmtree(work.checkpoints, ignore_errors=True)
        raise
    for split in splits:
        shutil.copytree(work.checkpoints / split, work.result / split, copy_function=_linked)
    return Manifest(kind="tokens", stage="pack", scores=scores)


def _told(split: Split, header: Header) -> dict[str, Any]:
    filled = header.tokens / (header.rows * header.max_length)
    say(
        f"{split}: {header.documents:,} documents ({header.empty:,} empty), {header.tokens:,} tokens in "
        f"{header.rows:,} rows, which are {filled:.1%} full; {header.short:,} have little text"
    )
    return header.amount._asdict() | {"filled_ratio": round(filled, 4), "sha256": header.sha256}


def _linked(source: str, target: str) -> None:
    """The same file under a second name, so that what is done survives a kill and takes no room twice."""
    try:
        os.link(source, target)
    except OSError:  # a disk that has no links
        shutil.copyfile(source, target)
