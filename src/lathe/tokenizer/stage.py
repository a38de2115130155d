"""``lathe tokenizer``: learn a vocabulary from text, and measure it on text that was held out."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from lathe.core.bundle import Bundle, Manifest
from lathe.core.documents import read_documents, read_texts, splits_of
from lathe.core.errors import DataError
from lathe.core.keyed import word
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.work import Work, run_stage
from lathe.models.presets import rounded
from lathe.models.pretrained import open_tokenizer
from lathe.tokenizer.algorithms import AnyAlgorithm, WordPiece, train_tokenizer
from lathe.tokenizer.distinct import bounded, told
from lathe.tokenizer.fit import added, fit_by, fit_by_script, random_texts
from lathe.tokenizer.report import report
from lathe.tokenizer.sample import Sample, pieces, sampled
from lathe.tokenizer.special import refuse_names


@recipe
class Data:
    train: Path
    """Text to learn from: a corpus bundle, or a file of text, JSONL, CSV or Parquet, plain or compressed."""
    validation: Path | None = None
    """Text to measure on; a corpus bundle brings its own, of a file one text in fifty is held out."""


@recipe
class Candidate:
    """Another tokenizer that is learnt from the same sample, to be compared with the one that is made."""

    algorithm: AnyAlgorithm
    """How words become pieces."""
    vocab_size: int | None = Field(None, ge=64)
    """Pieces; as many as the one that is made where not given."""


@recipe
class Recipe:
    data: Data
    """The text."""
    algorithm: AnyAlgorithm = WordPiece()
    """How words become pieces."""
    vocab_size: int = Field(8192, ge=64)
    """Pieces, special tokens included; rounded up by `pad_to_multiple_of`."""
    special_tokens: tuple[str, ...] = ()
    """Special tokens of your own, such as ["<user>", "<assistant>"], behind all pieces, also of candidates: never split
    where they are meant, and ordinary text where a text only names them. They count in `vocab_size`."""
    pad_to_multiple_of: int = Field(64, ge=1)
    """The size is a multiple of this, which matrix products like; 1 takes it as it is."""
    sample_mb: float = Field(16.0, ge=1)
    """Most megabytes of text to learn from: a sample that depends on the text alone. It bounds the memory."""
    max_distinct: int = Field(4_000_000, ge=1000)
    """Most different words to learn from, which bounds the memory of large samples: the rarest are left out, which is
    said. Characters of scripts without spaces do not count."""
    candidates: tuple[Candidate, ...] = ()
    """Others to learn and measure on the same text, side by side in the report; they are kept in ``candidates/``."""
    beside: tuple[Path, ...] = ()
    """Folders of tokenizers that exist, to measure on the same text."""

    def __post_init__(self) -> None:
        refuse_names(self.special_tokens)


def run(recipe: Recipe, out: Path) -> Bundle:
    """Train; ``out`` opens with ``AutoTokenizer.from_pretrained``, and ``out/report.html`` tells how it fits."""
    inputs = [recipe.data.train, recipe.data.validation, *recipe.beside]
    return run_stage("tokenizer", recipe, out, inputs, partial(make, recipe))


def make(recipe: Recipe, work: Work) -> Manifest:
    sample = sampled(training_texts(recipe.data), int(recipe.sample_mb * 1e6))
    if not sample.texts:
        raise DataError(f"{recipe.data.train}: no text to learn from")
    share: dict[str, float] = sample.share()
    say(f"learning from {sample.bytes / 1e6:.1f} MB, {share['ratio']:.1%} of the text")
    learnt = bounded(sample.texts, recipe.max_distinct)
    share |= told(learnt.left_out, learnt.words)
    held_out = held_out_sample(recipe.data, int(recipe.sample_mb * 1e5))
    measures: dict[str, dict[str, Any]] = {}
    for number, candidate in enumerate(_candidates(recipe)):
        size = rounded(candidate.vocab_size or recipe.vocab_size, recipe.pad_to_multiple_of)
        name = _unlike(f"{candidate.algorithm.kind}-{size}", measures)
        tokenizer = _learn(candidate.algorithm, sample._replace(texts=learnt.texts), size, recipe.special_tokens)
        save(tokenizer, work.result if number == 0 else work.result / "candidates" / name)
        measures[name] = measure(tokenizer, held_out)
        _tell(name, measures[name])
    for folder in recipe.beside:
        name = _unlike(folder.name, measures)
        measures[name] = measure(open_tokenizer(folder), held_out)
        _tell(name, measures[name])
    page = report(measures, share, str(recipe.data.train))
    (work.result / "report.html").write_text(page, encoding="utf-8")
    chosen, *others = measures
    scores = measures[chosen] | {"sample": share}
    scores |= {"candidates": {name: measures[name] for name in others}} if others else {}
    return Manifest(kind="tokenizer", stage="tokenizer", scores=scores)


class HeldOut(NamedTuple):
    texts: Sequence[str]
    languages: Mapping[str, str]  # of the texts whose documents name theirs


def measure(tokenizer: Any, held_out: HeldOut) -> dict[str, Any]:
    """Size, fit on held-out text in all, by script and by language where documents name one, and the share of random
    Unicode texts that come back."""
    by_script = fit_by_script(tokenizer, held_out.texts)
    by_language = fit_by(held_out.languages.__getitem__, tokenizer, filter(held_out.languages.get, held_out.texts))
    noise = added(fit_by_script(tokenizer, random_texts()).values())
    return {
        "vocab_size": len(tokenizer),
        "overall": added(by_script.values()).ratios(),
        "held_out": {script: fit.ratios() for script, fit in by_script.items()},
        "languages": {language: fit.ratios() for language, fit in by_language.items()},
        "random_unicode_restored_ratio": round(noise.restored / noise.texts, 4),
    }


def held_out_sample(data: Data, limit_bytes: int) -> HeldOut:
    """Texts to measure on, and what the documents of a corpus say of their languages."""
    texts = sampled(held_out_texts(data), limit_bytes).texts
    corpus = data.validation or data.train
    if not corpus.is_dir() or "validation" not in splits_of(corpus):
        return HeldOut(texts, {})
    chosen, languages = set(texts), dict[str, str]()
    for document in read_documents(corpus, "validation"):
        if language := document.meta.get("language"):
            languages |= {piece: str(language) for piece in pieces([document.text]) if piece in chosen}
    return HeldOut(texts, languages)


def training_texts(data: Data) -> Iterator[str]:
    texts = read_texts(data.train, "train")
    return texts if _brings_validation(data) else (text for text in texts if not _is_held_out(text))


def held_out_texts(data: Data) -> Iterator[str]:
    if data.validation is not None:
        return read_texts(data.validation, "validation")
    if _brings_validation(data):
        return read_texts(data.train, "validation")
    return (text for text in read_texts(data.train, "train") if _is_held_out(text))


def save(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """``tokenizer.json`` and ``tokenizer_config.json``, in the form that old and new transformers open."""
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    values = json.loads(file.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    if "extra_special_tokens" in values:  # as new ones call them and old ones do not open
        values["additional_special_tokens"] = values.pop("extra_special_tokens")
    file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _brings_validation(data: Data) -> bool:
    return data.validation is not None or (data.train.is_dir() and "validation" in splits_of(data.train))


def _is_held_out(text: str) -> bool:
    return word(f"tokenizer/{text}") % 50 == 0


def _candidates(recipe: Recipe) -> list[Candidate]:
    return [Candidate(algorithm=recipe.algorithm, vocab_size=recipe.vocab_size), *recipe.candidates]


def _unlike(name: str, taken: Mapping[str, Any]) -> str:
    return name if name not in taken else _unlike(f"{name}-{len(taken)}", taken)


def _learn(
    algorithm: AnyAlgorithm, sample: Sample, size: int, special_tokens: Sequence[str]
) -> PreTrainedTokenizerFast:
    """Says plainly where the text holds fewer pieces than asked for."""
    tokenizer = train_tokenizer(algorithm, sample.texts, size, special_tokens)
    if (found := len(tokenizer)) < size:
        say(
            f"{algorithm.kind}: vocab_size {size:,} is too large for {sample.bytes / 1e6:.2f} MB of text, which hold "
            f"{found:,} pieces; the tokenizer has {found:,}. Give more text, or lower min_frequency or vocab_size"
        )
    return tokenizer


def _tell(name: str, found: Mapping[str, Any]) -> None:
    say(f"{name}: {found['vocab_size']:,} pieces")
    for script, fit in found["held_out"].items():
        say(
            f"  {script}: {fit['bytes_per_token']:.2f} bytes a token, {fit['fertility']:.2f} tokens a word, "
            f"{fit['coverage']:.3%} covered, {fit['restored_ratio']:.1%} of {fit['texts']:,} texts restored"
        )
    say(f"  random Unicode: {found['random_unicode_restored_ratio']:.1%} restored")
