"""``lathe extend``: a language model gets pieces for the words of a new text, and keeps all it knows."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from lathe.core.bundle import Bundle, Manifest
from lathe.core.errors import DataError
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.work import Work, run_stage
from lathe.models.presets import rounded
from lathe.models.pretrained import check_folder, language_model_class, open_model, open_tokenizer, save_model
from lathe.models.vocabulary import Parts, never_a_label, rebuild
from lathe.tokenizer.continued import kind_of, learn_joins, parts_of, with_joins, words_in_pieces
from lathe.tokenizer.distinct import told
from lathe.tokenizer.sample import sampled
from lathe.tokenizer.special import add_special, refuse_names
from lathe.tokenizer.stage import Data, held_out_sample, measure, save, training_texts


@recipe
class Recipe:
    bundle: Path
    """The language model to extend: a bundle, or a folder in Hugging Face's format."""
    data: Data
    """The text whose words get pieces."""
    new_pieces: int = Field(1024, ge=1)
    """Most pieces to add."""
    min_frequency: int = Field(20, ge=2)
    """Fewest occurrences of two neighbouring pieces that are joined to a new one."""
    special_tokens: tuple[str, ...] = ()
    """Special tokens of your own to add, such as ["<user>", "<assistant>"]: behind the old tokens, before the new
    pieces. Their embeddings begin at the mean of the pieces of their names."""
    sample_mb: float = Field(16.0, ge=1)
    """Most megabytes of text to learn from: a sample that depends on the text alone."""
    max_distinct: int = Field(1_000_000, ge=1000)
    """Most different words to learn from, as this tokenizer cuts them, which bounds the memory of large samples: the
    rarest are left out, which is said."""
    pad_to_multiple_of: int = Field(64, ge=1)
    """The table of embeddings gets a multiple of this many rows."""

    def __post_init__(self) -> None:
        refuse_names(self.special_tokens)


def run(recipe: Recipe, out: Path) -> Bundle:
    """Add pieces and their embeddings; ``out`` opens with ``AutoModelFor...LM`` and ``AutoTokenizer``."""
    return run_stage(
        "extend", recipe, out, [recipe.bundle, recipe.data.train, recipe.data.validation], partial(_make, recipe)
    )


def _make(recipe: Recipe, work: Work) -> Manifest:
    check_folder(recipe.bundle)
    auto_model = language_model_class(recipe.bundle)
    tokenizer = open_tokenizer(recipe.bundle)
    sample = sampled(training_texts(recipe.data), int(recipe.sample_mb * 1e6))
    parts = add_named(tokenizer, recipe.special_tokens)
    backend = tokenizer.backend_tokenizer
    kind = kind_of(backend, recipe.bundle)
    cut = words_in_pieces(backend, sample.texts, recipe.max_distinct)
    share = sample.share() | told(cut.left_out, cut.total)
    joins = learn_joins(cut.words, kind, recipe.new_pieces, recipe.min_frequency)
    if not joins:
        raise DataError(
            f"{recipe.data.train}: no two pieces stand together {recipe.min_frequency} times, so there is nothing to "
            "add; give more text, or lower min_frequency"
        )
    if len(joins) < recipe.new_pieces:
        say(f"the text holds {len(joins):,} new pieces, not {recipe.new_pieces:,}")
    held_out = held_out_sample(recipe.data, int(recipe.sample_mb * 1e5))
    before = measure(tokenizer, held_out)
    tokens = sum(len(word) * count for word, count in cut.words.items())
    save(tokenizer, work.result)
    with_joins(backend, kind, joins, tokens).save(str(work.result / "tokenizer.json"))
    extended = open_tokenizer(work.result)
    model = open_model(auto_model, recipe.bundle).model
    grow(model, parts | parts_of(kind, joins), recipe.pad_to_multiple_of)
    saved = save_model(model, extended, work.result)
    scores: dict[str, Any] = {"new_pieces": len(joins), "vocab_size": len(extended), "sample": share}
    scores |= {"before": before, "after": measure(extended, held_out)}
    _tell(scores)
    return Manifest(kind="model", stage="extend", scores=scores, runtime=saved)


def add_named(tokenizer: Any, names: Sequence[str]) -> dict[int, list[int]]:
    """Add special tokens; the id of each, and the ids of the old pieces of its name, of all where it has none."""
    pieces = tokenizer(list(names), add_special_tokens=False)["input_ids"] if names else []
    old = list(range(len(tokenizer)))
    add_special(tokenizer, names)
    known = ([number for number in ids if number != tokenizer.unk_token_id] for ids in pieces)
    return {tokenizer.convert_tokens_to_ids(name): ids or old for name, ids in zip(names, known, strict=True)}


def grow(model: Any, parts: Parts, multiple: int) -> None:
    """Give each new id the mean of its parts' rows in every table that has a row for each piece; old ones keep theirs.

    ``parts``: new id -> ids of its pieces, beginning with the first id that no old piece has. An old id that the tables
    have no row for, as of a token that was added to the tokenizer alone, gets the mean of all.
    """
    there, first, end = model.get_input_embeddings().weight.shape[0], min(parts), max(parts) + 1
    size = max(there, rounded(end, multiple))
    silent = never_a_label(first, there, model.config.pad_token_id)
    old = {index: (index,) for index in range(min(first, there))}
    spare = {index: silent for index in range(end, size) if silent}
    rebuild(model, {**old, **spare, **parts}, size)


def _tell(scores: Mapping[str, Any]) -> None:
    say(f"{scores['new_pieces']:,} new pieces")
    for script, fit in scores["after"]["held_out"].items():
        old = scores["before"]["held_out"][script]
        say(f"  {script}: {old['bytes_per_token']:.2f} -> {fit['bytes_per_token']:.2f} bytes a token")
