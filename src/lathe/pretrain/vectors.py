"""``lathe vectors``: word vectors from the company that words keep, by gensim's word2vec."""

from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from lathe.core.boundaries import Segmenter, words_of
from lathe.core.bundle import Bundle, Manifest
from lathe.core.digest import whole_file
from lathe.core.documents import read_texts
from lathe.core.errors import DataError, LatheError
from lathe.core.recipe import recipe
from lathe.core.report import Meter, progress, say
from lathe.core.runtime import versions
from lathe.core.work import Work, run_stage
from lathe.models.vectors import WordVectors, write_text

READ, TEXT = "words.txt", "vectors.txt"
LONGEST = 10_000
"""Words of a line; word2vec reads no further in one."""
SHOWN_RANKS, SHOWN_NEAR = (50, 100, 200, 400, 800), 5


@recipe
class Data:
    train: Path
    """Text to learn from: a corpus bundle, or a file of text, JSONL, CSV or Parquet, plain or compressed."""


@recipe
class Recipe:
    data: Data
    """The text."""
    segmenter: Segmenter = "characters"
    """What a word is in Chinese and other scripts without spaces: a character; what `jieba` finds (`pip install
    'lathe[segment]'`); or what `spaces` in the text set apart."""
    lowercase: bool = True
    """Whether "The" and "the" are one word."""
    method: Literal["skip-gram", "cbow"] = "skip-gram"
    """Predict the words around a word, better for rare ones; or a word from those around it, several times faster."""
    dimension: int = Field(100, ge=1)
    """Numbers of a vector."""
    window: int = Field(5, ge=1)
    """How far off a word may stand that is company."""
    min_frequency: int = Field(5, ge=1)
    """Words that the text has less often get no vector."""
    negatives: int = Field(5, ge=1)
    """Words drawn by chance that each word is told apart from."""
    sample: float = Field(1e-3, ge=0)
    """Words that make up more of the text than this share are passed over at times; 0 for never."""
    learning_rate: float = Field(0.025, gt=0)
    """At the start; it falls linearly to 0.0001."""
    epochs: int = Field(5, ge=1)
    """How often the text is read."""
    threads: int = Field(1, ge=1)
    """More than one is faster, and then no two runs give quite the same vectors."""
    seed: int = Field(0, ge=0)
    """Decides the first vectors and every draw."""
    text: bool = False
    """Also write ``vectors.txt`` in word2vec's text format, which many other tools read."""


def run(recipe: Recipe, out: Path) -> Bundle:
    """Learn; ``out`` becomes a bundle that `lathe.load_vectors` opens."""
    return run_stage("vectors", recipe, out, [recipe.data.train], partial(_make, recipe))


def _make(recipe: Recipe, work: Work) -> Manifest:
    word2vec = _word2vec()
    file = work.path / READ
    read = _write_words(recipe, file)
    vectors, known = _learn(recipe, file, word2vec)
    vectors.save(work.result)
    if recipe.text:
        write_text(vectors, work.result / TEXT)
    _show(vectors)
    scores = {"words": len(vectors.words), "read": read, "known_share": known / read}
    return Manifest(kind="vectors", stage="vectors", scores=scores, versions=versions("gensim"))


def _write_words(recipe: Recipe, file: Path) -> int:
    """The text as word2vec reads it: words between spaces, once for all epochs. Returns how many words there are."""
    total = 0
    with progress("reading", None, "texts") as meter, whole_file(file) as stream:
        for text in read_texts(recipe.data.train):
            words = words_of(text.lower() if recipe.lowercase else text, recipe.segmenter)
            for start in range(0, len(words), LONGEST):
                stream.write(f"{' '.join(words[start : start + LONGEST])}\n".encode())
            total += len(words)
            meter.advance()
    if not total:
        raise DataError(f"{recipe.data.train}: no word to learn from")
    return total


def _learn(recipe: Recipe, file: Path, word2vec: Any) -> tuple[WordVectors, int]:
    """The vectors, and how many words of the text have one."""
    model = word2vec(
        vector_size=recipe.dimension,
        alpha=recipe.learning_rate,
        window=recipe.window,
        min_count=recipe.min_frequency,
        sample=recipe.sample,
        seed=recipe.seed,
        workers=recipe.threads,
        sg=int(recipe.method == "skip-gram"),
        negative=recipe.negatives,
        epochs=recipe.epochs,
    )
    model.build_vocab(corpus_file=str(file))
    if not len(model.wv):
        raise DataError(
            f"{recipe.data.train}: no word stands in it {recipe.min_frequency} times; lower min_frequency, or add text"
        )
    say(f"{len(model.wv):,} words, {recipe.dimension} numbers each")
    with progress("training", recipe.epochs, "epochs") as meter:
        model.train(
            corpus_file=str(file),
            total_words=model.corpus_total_words,
            epochs=recipe.epochs,
            callbacks=[_Told(meter)],
        )
    known = sum(model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key)
    vectors = WordVectors(tuple(model.wv.index_to_key), model.wv.vectors, recipe.segmenter, recipe.lowercase)
    return vectors, int(known)


class _Told:
    """What gensim calls as it goes on."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def on_train_begin(self, model: Any) -> None: ...

    def on_train_end(self, model: Any) -> None: ...

    def on_epoch_begin(self, model: Any) -> None: ...

    def on_epoch_end(self, model: Any) -> None:
        self.meter.advance()


def _show(vectors: WordVectors) -> None:
    """What some words are near to: wrong words there tell of too little text, or of a wrong segmenter."""
    for rank in SHOWN_RANKS:
        if rank < len(vectors.words):
            word = vectors.words[rank]
            near = ", ".join(f"{other} {cosine:.2f}" for other, cosine in vectors.nearest(word, SHOWN_NEAR))
            say(f"near to {word!r}: {near}")


def _word2vec() -> Any:
    try:
        from gensim.models import Word2Vec
    except ImportError:
        raise LatheError("word vectors need the library gensim: pip install 'lathe[vectors]'") from None
    return Word2Vec
