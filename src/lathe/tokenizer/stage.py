"""``lathe tokenizer``: learn a vocabulary from text, and measure it on text that was held out."""

import json
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field
from transformers import PreTrainedTokenizerFast

from lathe.core.bundle import Bundle, Manifest
from lathe.core.documents import read_texts, splits_of
from lathe.core.errors import DataError
from lathe.core.keyed import word
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.work import Work, run_stage
from lathe.tokenizer.algorithms import AnyAlgorithm, WordPiece, train_tokenizer
from lathe.tokenizer.fit import fit_by_script, random_texts
from lathe.tokenizer.sample import sampled

MULTIPLE = 64
"""Vocabulary sizes are multiples of this: matrix products like it."""


@recipe
class Data:
    train: Path
    """Text to learn from: a corpus bundle, or a file of text, JSONL, CSV or Parquet, plain or compressed."""
    validation: Path | None = None
    """Text to measure on; a corpus bundle brings its own, of a file one text in fifty is held out."""


@recipe
class Recipe:
    data: Data
    """The text."""
    algorithm: AnyAlgorithm = WordPiece()
    """How words become pieces."""
    vocab_size: int = Field(8192, ge=64)
    """Pieces, special tokens included; rounded up to a multiple of 64."""
    sample_mb: float = Field(16.0, ge=1)
    """Most megabytes of text to learn from: a sample that depends on the text alone."""


def run(recipe: Recipe, out: Path) -> Bundle:
    """Train; ``out`` opens with ``AutoTokenizer.from_pretrained``."""
    return run_stage("tokenizer", recipe, out, [recipe.data.train, recipe.data.validation], partial(make, recipe))


def make(recipe: Recipe, work: Work) -> Manifest:
    learnt = sampled(training_texts(recipe.data), int(recipe.sample_mb * 1e6))
    if not learnt:
        raise DataError(f"{recipe.data.train}: no text to learn from")
    size = -(-recipe.vocab_size // MULTIPLE) * MULTIPLE
    say(f"learning {size:,} pieces from {sum(map(len, learnt)) / 1e6:.1f} million characters")
    tokenizer = train_tokenizer(recipe.algorithm, learnt, size)
    save(tokenizer, work.result)
    held_out = sampled(held_out_texts(recipe.data), int(recipe.sample_mb * 1e5))
    scores = {"vocab_size": len(tokenizer)} | measure(tokenizer, held_out)
    _tell(scores, size)
    return Manifest(kind="tokenizer", stage="tokenizer", scores=scores)


def measure(tokenizer: PreTrainedTokenizerFast, held_out: Iterable[str]) -> dict[str, Any]:
    """Fit on held-out text by script, and the share of random Unicode texts that come back from their ids."""
    noise = fit_by_script(tokenizer, random_texts()).values()
    return {
        "held_out": {script: fit.ratios() for script, fit in fit_by_script(tokenizer, held_out).items()},
        "random_unicode_restored_ratio": round(sum(f.restored for f in noise) / sum(f.texts for f in noise), 4),
    }


def training_texts(data: Data) -> Iterator[str]:
    texts = read_texts(data.train, "train")
    return texts if _brings_validation(data) else (text for text in texts if not _is_held_out(text))


def held_out_texts(data: Data) -> Iterator[str]:
    if data.validation is not None:
        return read_texts(data.validation, "validation")
    if _brings_validation(data):
        return read_texts(data.train, "validation")
    return (text for text in read_texts(data.train, "train") if _is_held_out(text))


def save(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """``tokenizer.json`` and ``tokenizer_config.json``, in the form that old and new transformers open."""
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    values = json.loads(file.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _brings_validation(data: Data) -> bool:
    return data.validation is not None or (data.train.is_dir() and "validation" in splits_of(data.train))


def _is_held_out(text: str) -> bool:
    return word(f"tokenizer/{text}") % 50 == 0


def _tell(scores: dict[str, Any], asked: int) -> None:
    if scores["vocab_size"] < asked:
        say(f"the text holds {scores['vocab_size']:,} pieces, not {asked:,}; give more text, or lower min_frequency")
    for script, fit in scores["held_out"].items():
        say(
            f"  {script}: {fit['bytes_per_token']:.2f} bytes a token, {fit['fertility']:.2f} tokens a word, "
            f"{fit['unknown_ratio']:.3%} unknown, {fit['restored_ratio']:.1%} of {fit['texts']:,} texts restored"
        )
    say(f"  random Unicode: {scores['random_unicode_restored_ratio']:.1%} restored")
