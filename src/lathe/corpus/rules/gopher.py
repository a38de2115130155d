"""The rules of Gopher (Rae et al. 2021, table A1 and section A.1.1), with their counterparts for Chinese.

In a script without spaces each character is a word. English is parted as by ``words``; datatrove's filters of the same
names, whose options these are, decide alike.
"""

import re
from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from lathe.core.native.words import repeats
from lathe.core.recipe import recipe
from lathe.core.types import Document
from lathe.corpus.protocol import Dropped
from lathe.corpus.rules.facts import Check, Facts, above, below, facts_of, judged, repeated, share

N: TypeAlias = Annotated[int, Field(ge=2, le=100)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]

BULLETS = ("•", "-")
CHINESE_BULLETS = tuple("•-·●○■□◆◇★☆※▪►▶→")
ELLIPSES = ("...", "…")
CHINESE_ELLIPSES = (*ELLIPSES, "。。。", "⋯")

_PARAGRAPH_END, _LINE_END = re.compile(r"\n{2,}"), re.compile(r"\n+")
_CHINESE_ELLIPSIS = re.compile(r"…+|⋯+|\.{3,}|。{3,}")


@recipe
class GopherQuality:
    """Drop texts that are too short or long, of odd words, symbols or lists, or without the words all texts have."""

    kind: Literal["gopher_quality"] = "gopher_quality"
    min_doc_words: int | None = 50
    """Fewest words; marks are none."""
    max_doc_words: int | None = 100_000
    """Most words."""
    min_doc_characters: int | None = 80
    """Fewest words where each character is one."""
    max_doc_characters: int | None = 160_000
    """Most words where each character is one."""
    min_avg_word_length: float | None = 3
    """Fewest characters of the mean word; not asked of scripts without spaces."""
    max_avg_word_length: float | None = 10
    """Most characters of the mean word; not asked of scripts without spaces."""
    max_symbol_word_ratio: float | None = Field(0.1, ge=0)
    """Most number signs, and most ellipses, for each word."""
    max_bullet_lines_ratio: float | None = Field(0.9, ge=0, le=1)
    """Largest share of lines that begin with a bullet."""
    max_ellipsis_lines_ratio: float | None = Field(0.3, ge=0, le=1)
    """Largest share of lines that end in an ellipsis."""
    max_non_alpha_words_ratio: float | None = Field(0.8, ge=0, le=1)
    """Smallest share of words and marks that have a letter (so named by datatrove)."""
    max_non_alpha_characters_ratio: float | None = Field(0.7, ge=0, le=1)
    """The same where each character is a word."""
    min_stop_words: int | None = 2
    """Fewest different ones of the words that texts do not do without."""
    stop_words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")
    """These words."""
    stop_characters: tuple[str, ...] = tuple("的了是在不有和这我他一人")
    """The same in Chinese."""

    def __call__(self, document: Document) -> Document | Dropped:
        facts = facts_of(document.text)
        return judged(document, "gopher quality", chain(self._of_words(facts), self._of_lines(facts)))

    def _of_words(self, facts: Facts) -> Iterator[Check]:
        tally = facts.tally
        every, mean = max(tally.words, 1), tally.characters / max(tally.plain, 1)
        if facts.is_unspaced:
            yield "too few characters", below(tally.plain, self.min_doc_characters)
            yield "too many characters", above(tally.plain, self.max_doc_characters)
        else:
            yield "too few words", below(tally.plain, self.min_doc_words)
            yield "too many words", above(tally.plain, self.max_doc_words)
            yield "words too short", below(mean, self.min_avg_word_length)
            yield "words too long", above(mean, self.max_avg_word_length)
        yield "too many number signs", above(facts.text.count("#") / every, self.max_symbol_word_ratio)
        yield "too many ellipses", above(_ellipses(facts) / every, self.max_symbol_word_ratio)
        fewest = self.max_non_alpha_characters_ratio if facts.is_unspaced else self.max_non_alpha_words_ratio
        yield "too few words with letters", below(tally.lettered / every, fewest)
        yield "too few stop words", self.min_stop_words is not None and self._lacks(self.min_stop_words, facts)

    def _lacks(self, fewest: int, facts: Facts) -> bool:
        wanted = {*(self.stop_characters if facts.is_unspaced else self.stop_words)}
        for word in facts.words.split(" "):
            if fewest <= 0:
                break
            if word in wanted:
                wanted.remove(word)
                fewest -= 1
        return fewest > 0

    def _of_lines(self, facts: Facts) -> Iterator[Check]:
        lines = facts.lines
        bullets, ellipses = (CHINESE_BULLETS, CHINESE_ELLIPSES) if facts.is_unspaced else (BULLETS, ELLIPSES)
        begin = share((line.lstrip().startswith(bullets) for line in lines), len(lines))
        yield "too many bullets", above(begin, self.max_bullet_lines_ratio)
        end = share((line.rstrip().endswith(ellipses) for line in lines), len(lines))
        yield "too many lines end in an ellipsis", above(end, self.max_ellipsis_lines_ratio)


@recipe
class GopherRepetition:
    """Drop texts that repeat their lines, paragraphs or n-grams of words."""

    kind: Literal["gopher_repetition"] = "gopher_repetition"
    dup_line_frac: float | None = Field(0.3, ge=0, le=1)
    """Largest share of lines that were there before."""
    dup_para_frac: float | None = Field(0.3, ge=0, le=1)
    """Largest share of paragraphs that were there before."""
    dup_line_char_frac: float | None = Field(0.2, ge=0, le=1)
    """Largest share of characters in such lines."""
    dup_para_char_frac: float | None = Field(0.2, ge=0, le=1)
    """Largest share of characters in such paragraphs."""
    top_n_grams: tuple[tuple[N, Share], ...] = ((2, 0.2), (3, 0.18), (4, 0.16))
    """n, and the largest share of characters in the most frequent n-gram."""
    dup_n_grams: tuple[tuple[N, Share], ...] = ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1))
    """n, and the largest share of characters in n-grams that were there before."""
    top_character_grams: tuple[tuple[N, Share], ...] = ((3, 0.2), (5, 0.18), (6, 0.16))
    """The same of the most frequent one in scripts without spaces, where n counts characters: 1.6 for a word."""
    dup_character_grams: tuple[tuple[N, Share], ...] = (
        *((8, 0.15), (10, 0.14), (11, 0.13)),
        *((13, 0.12), (14, 0.11), (16, 0.1)),
    )
    """The same of those that were there before."""

    def __call__(self, document: Document) -> Document | Dropped:
        facts = facts_of(document.text)
        return judged(document, "gopher repetition", chain(self._of_lines(facts.text), self._of_words(facts)))

    def _of_lines(self, text: str) -> Iterator[Check]:
        yield "empty", not text.strip()
        has_gaps = "\n\n" in text  # most texts have none, and need no expression
        paragraphs = _PARAGRAPH_END.split(text.strip()) if has_gaps else [text]
        again, characters = repeated(paragraphs)
        yield "repeated paragraphs", above(again / len(paragraphs), self.dup_para_frac)
        yield "characters of repeated paragraphs", above(characters / len(text), self.dup_para_char_frac)
        lines = _LINE_END.split(text) if has_gaps else text.split("\n")
        again, characters = repeated(lines)
        yield "repeated lines", above(again / len(lines), self.dup_line_frac)
        yield "characters of repeated lines", above(characters / len(text), self.dup_line_char_frac)

    def _of_words(self, facts: Facts) -> Iterator[Check]:
        length, space = len(facts.text), 0 if facts.is_unspaced else 1
        top = dict(self.top_character_grams if facts.is_unspaced else self.top_n_grams)
        again = dict(self.dup_character_grams if facts.is_unspaced else self.dup_n_grams)
        found = repeats(facts.words, tuple(top), tuple(again))
        for n, most in top.items():
            times, characters = found.frequent[n]
            is_frequent = times > 1 or not facts.is_unspaced  # in English texts one that is there once counts, too
            yield f"a frequent {n}-gram", is_frequent and times * (characters + (n - 1) * space) / length > most
        yield from ((f"repeated {n}-grams", found.repeated[n] / length > most) for n, most in again.items())


def _ellipses(facts: Facts) -> int:
    if facts.is_unspaced:
        return len(_CHINESE_ELLIPSIS.findall(facts.text))
    return facts.text.count("...") + facts.text.count("…")
