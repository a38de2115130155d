"""The rules of C4 (Raffel et al. 2020, section 2.2), with counterparts for Chinese: lines go, or the whole text."""

import re
from collections import Counter
from typing import Literal

from lathe.core.boundaries import CLOSING
from lathe.core.recipe import recipe
from lathe.core.scripts import words
from lathe.core.types import Document
from lathe.corpus.protocol import Changed, Dropped
from lathe.corpus.rules.boilerplate import CHINESE_POLICY, JAVASCRIPT, POLICY, Saying, edited, fault, present
from lathe.corpus.rules.facts import facts_of, sentences

END_MARKS = (".", "?", "!", '"', "'")
CHINESE_END_MARKS = (*END_MARKS, *"。！？…；", *CLOSING)

LOREM_IPSUM, CURLY_BRACKET = Saying("lorem ipsum", ("lorem ipsum",)), Saying("curly bracket", ("{",))

_FATAL = (LOREM_IPSUM.fault, CURLY_BRACKET.fault)
_CITATION = re.compile(r"\[(?:\d*|edit|citation needed)\]")


@recipe
class C4Quality:
    """Take away lines that are no sentences or tell of cookies; drop texts of code, placeholders or few sentences."""

    kind: Literal["c4_quality"] = "c4_quality"
    remove_citations: bool = True
    """Take out marks of citations such as "[1]" and "[citation needed]"."""
    filter_no_terminal_punct: bool = True
    """Take away lines without an end mark (FineWeb does not)."""
    min_num_sentences: int | None = 5
    """Fewest sentences that are left."""
    min_num_chinese_sentences: int | None = 3
    """The same in scripts without spaces, where sentences are longer."""
    min_words_per_line: int | None = 3
    """Fewest words of a line."""
    min_characters_per_line: int | None = 5
    """The same in scripts without spaces, where each character is a word."""
    max_word_length: int | None = 1000
    """Most characters of a word; a line with a longer one goes."""
    filter_lorem_ipsum: bool = True
    """Drop texts that say "lorem ipsum"."""
    filter_javascript: bool = True
    """Take away lines that say "javascript"."""
    filter_curly_bracket: bool = True
    """Drop texts with a "{"."""
    filter_policy: bool = True
    """Take away lines on cookies, terms of use and privacy."""

    def __call__(self, document: Document) -> Document | Changed | Dropped:
        facts = facts_of(document.text)
        sayings = present(document.text, self._sayings())
        kept: list[str] = []
        taken = Counter[str]()
        enough = (self.min_num_chinese_sentences if facts.is_unspaced else self.min_num_sentences) or 0
        found = 0
        for line in map(str.strip, facts.lines):
            bare = _CITATION.sub("", line) if self.remove_citations and "[" in line else line
            wrong = self._fault(line, bare, facts.is_unspaced) or fault(bare, sayings)
            if wrong in _FATAL:
                return Dropped(document, f"c4 quality: {wrong}")
            if wrong:
                taken[f"c4 quality: {wrong}"] += 1 if line else 0
                continue
            found += sentences(bare, facts.is_unspaced, enough - found) if found < enough else 0
            kept.append(bare)
        if found < enough:
            return Dropped(document, "c4 quality: too few sentences")
        return edited(document, "\n".join(kept).strip(), +taken, "c4 quality")

    def _fault(self, line: str, bare: str, is_unspaced: bool) -> str | None:
        """What is wrong with the form of a line, whose citations count as words but not as its end."""
        if is_overlong(line, self.max_word_length) and not is_unspaced:
            return "word too long"
        if self.filter_no_terminal_punct and not _is_ended(bare, is_unspaced):
            return "no end mark"
        fewest = (self.min_characters_per_line if is_unspaced else self.min_words_per_line) or 0
        number = len(words(line)) if is_unspaced else len(line.split(None, fewest))
        return "too few words" if number < fewest else None

    def _sayings(self) -> tuple[Saying, ...]:
        """In the order in which a line is judged: one that goes takes its curly bracket with it."""
        asked = (
            (LOREM_IPSUM, self.filter_lorem_ipsum),
            (JAVASCRIPT, self.filter_javascript),
            (CURLY_BRACKET, self.filter_curly_bracket),
            (POLICY, self.filter_policy),
            (CHINESE_POLICY, self.filter_policy),
        )
        return tuple(saying for saying, is_asked in asked if is_asked)


def is_overlong(line: str, most: int | None) -> bool:
    return most is not None and len(line) > most and max(map(len, line.split())) > most


def _is_ended(line: str, is_unspaced: bool) -> bool:
    if is_unspaced:
        return line.endswith(CHINESE_END_MARKS)
    return line.endswith(END_MARKS) and not line.endswith("...")
