"""Where sentences and words of a text begin, in English, in Chinese and in between: characters, counted from 0."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any, Literal, TypeAlias

from lathe.core.errors import LatheError
from lathe.core.scripts import UNSPACED_CLASS

STOPS = "!.?։؝؞؟۔܀܁܂߹।॥၊။።፧፨᙮᜵᜶។៕៖៙៚᠃᠉᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᭽᭾᰻᰼᱾᱿‼‽⁇⁈⁉⸮⸼⹓⹔。꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱ꫯ﹒﹖﹗！．？｡"
"""Marks that end a sentence: Unicode's Sentence_Terminal."""

CLOSING = "”’」』）》】\"')"
"""Marks that may follow the end of a sentence."""

Segmenter: TypeAlias = Literal["characters", "jieba", "spaces"]
"""What a word is in scripts without spaces: a character, what jieba finds, or what spaces in the text set apart."""

_SPACED_STOPS = "!.?։؟۔।॥።‼‽⁇⁈⁉"  # a sentence ends behind them where white space follows
_END = re.compile(
    rf"[{_SPACED_STOPS}]+[{re.escape(CLOSING)}\]]*(?=\s|{UNSPACED_CLASS})"
    rf"|(?:[{''.join(set(STOPS) - set(_SPACED_STOPS))}]|…{{2}})[{re.escape(STOPS)}]*[{re.escape(CLOSING)}]*"
    r"|\n"
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[\"'“‘])(?:(?:[A-Za-z]\.)*[A-Z]|[a-z](?:\.[a-z])+|Mr|Mrs|Ms|Messrs|Dr|Prof|Rev|Hon|Gen|Col|Maj|Capt|Lt|Sgt|St|Gov|Sen|Rep"
    r"|Jr|Sr|vs|cf|ca|al|etc|No|no|Nos|Vol|vol|pp|p|Fig|fig|Eq|Sec|Ch|Ed|eds?|Inc|Ltd|Co|Corp|approx"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.$"
)
_REACH = 16  # characters before a full stop in which an abbreviation is sought
_SPACED_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_UNSPACED_RUN = re.compile(rf"{UNSPACED_CLASS}+")


def sentence_starts(text: str) -> list[int]:
    """Where each sentence begins; the first one at the first character that is not white space.

    A sentence ends behind a mark that ends one and its closing marks, and at a line break; in scripts with spaces not
    where a lower-case letter follows, nor behind an abbreviation.

    >>> text = "Dr. Wu (e.g. in the U.S. army) left. “Why?” he asked. 今天下雨。我们不去！"
    >>> [text[a:b].strip() for a, b in zip(starts := sentence_starts(text), [*starts[1:], None])]
    ['Dr. Wu (e.g. in the U.S. army) left.', '“Why?” he asked.', '今天下雨。', '我们不去！']
    """
    starts = []
    last = len(text) - len(text.lstrip())
    for end in _END.finditer(text):
        start = end.end() + _white(text, end.end())
        if start > last and start < len(text) and _ends(text, end, start):
            starts.append(last)
            last = start
    return [*starts, last] if last < len(text) else starts


def unspaced_runs(text: str, segmenter: Segmenter) -> Iterator[tuple[int, int, list[int]]]:
    """Start and end of each run of characters of scripts without spaces, and where in the text its words begin.

    >>> list(unspaced_runs("BERT 很好 ok", "characters")), list(unspaced_runs("很好", "spaces"))
    ([(5, 7, [5, 6])], [(0, 2, [0])])
    """
    cut = _cutter(segmenter)
    for run in _UNSPACED_RUN.finditer(text):
        starts, at = [], run.start()
        for word in cut(run.group()):
            starts.append(at)
            at += len(word)
        yield run.start(), run.end(), starts


def words_of(text: str, segmenter: Segmenter) -> list[str]:
    """Words of letters and digits, an apostrophe inside one with them; no marks.

    >>> words_of("Isn't BERT 很好, snake_case?", "characters")
    ["Isn't", 'BERT', '很', '好', 'snake', 'case']
    """
    found, at = [], 0
    for start, end, starts in unspaced_runs(text, segmenter):
        found += _SPACED_WORD.findall(text, at, start)
        found += (text[first:last] for first, last in pairwise([*starts, end]))
        at = end
    return found + _SPACED_WORD.findall(text, at)


def _ends(text: str, end: re.Match[str], start: int) -> bool:
    """Whether a sentence ends at ``end`` where the next one would begin at ``start``."""
    if text[start].islower() and end.group()[0] in f"{_SPACED_STOPS}\n":
        return "\n\n" in text[end.end() - 1 : start]
    return not (end.group() == "." and _ABBREVIATION.search(text[max(0, end.end() - _REACH) : end.end()]))


def _white(text: str, start: int) -> int:
    """How many characters of white space there are from ``start`` on."""
    found = _WHITE.match(text, start)
    return found.end() - start if found else 0


_WHITE = re.compile(r"\s*")


@cache
def _cutter(segmenter: Segmenter) -> Callable[[str], Iterable[str]]:
    match segmenter:
        case "characters":
            return list
        case "spaces":
            return lambda run: [run]
        case "jieba":
            return _jieba().cut  # type: ignore[no-any-return]


def _jieba() -> Any:
    try:
        import jieba
    except ImportError:
        raise LatheError("segmenter=jieba needs the library jieba: pip install 'lathe[segment]'") from None
    jieba.setLogLevel("ERROR")
    return jieba
