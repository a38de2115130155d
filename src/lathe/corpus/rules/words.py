"""English text as the published filters count it: words, punctuation marks and the parts of contractions.

Their thresholds were set on words of spaCy's English tokenizer: "(don't)" is four, "e.g." one. These are its decisions
for all but rare pieces of text, at a hundred times its speed: most pieces between white space are letters only, and the
others are remembered.
"""

import re
import unicodedata
from functools import cache, lru_cache
from itertools import chain

from lathe.corpus.rules.pieces import whole_pieces

LONGEST = 1000
"""Characters of a piece without white space; a longer one counts as one word, so that a hostile one costs no time."""

REMEMBERED = 1 << 17
"""Pieces whose words are remembered."""

_SHORT = 64  # characters of a piece that may be remembered

_QUOTES = "'\"”“`‘´’‚„»«「」『』（）〔〕【】《》〈〉⟦⟧"
_MARKS = r"…,:;!?¿؟¡()\[\]{}<>_#*&。？！，、；：～·।،۔؛٪"
_CURRENCY = "$£€¥฿₽﷼₠-₿"
_SYMBOLS = "¦©®°℃℉™№↕-↙★☆■-▶▸-◀◂-◷☀-♮♰-❧\U0001f300-\U0001faff\ufffd"
_UNITS = (  # behind a number: of length, area, mass, speed, pressure, memory
    "[kdcm]?m[²³]?|ha|[µn]m|yd|in|ft|[km]?g|µg|t|lb|oz|m/s|km/h|kmh|mph|hPa|Pa|mbar|[mkgt]b|[MKGT]B|[TGMK%]"
)
_LONGEST_UNIT = 4
_UNCASED = "\u0590-\u0dff぀-ヿ㐀-鿿가-힯"
_LOWER, _UPPER, _LETTER = f"a-zß-öø-ʯḀ-ỿα-ωа-яё{_UNCASED}", f"A-ZÀ-ÖØ-ÞΑ-ΩА-ЯЁ{_UNCASED}", r"[^\W\d_]"
_DASH = "[-–—~]|--|---|——"

_WORD_AND_MARK = re.compile(r"[A-Za-z]*[a-z][.,;:!?)\"”]")
_OPENING = re.compile(rf"\.\.+|(?:US|C|A)\$|[§%=—–{_MARKS}{_QUOTES}{_CURRENCY}{_SYMBOLS}]|\+(?![0-9])")
_CLOSING = re.compile(
    rf"(?:['’][sS]|[—–{_MARKS}{_QUOTES}{_SYMBOLS}]"
    rf"|(?<=[0-9])(?:\+|[{_CURRENCY}]|{_UNITS})"
    rf"|(?<=[0-9{_LOWER}%²+\-{_MARKS}{_QUOTES}])\.|(?<=[{_UPPER}][{_UPPER}])\.)$"
)
_INSIDE = re.compile(
    rf"\.\.+|…|[{_SYMBOLS}]|(?<=[0-9])[+\-*^](?=[0-9-])|(?<=[{_LOWER}{_QUOTES}])\.(?=[{_UPPER}{_QUOTES}])"
    rf"|(?<={_LETTER}),(?={_LETTER})|(?<=[^\W_])(?:{_DASH}|[:<>=/])(?={_LETTER})"
)
_ADDRESS = re.compile(
    r"(?:[\w+.-]{2,}://)?(?:[^\s@]+@)?"
    rf"(?:[A-Za-z0-9¡-\uffff][\w¡-\uffff-]{{0,62}}\.)+[{_LOWER}]{{2,63}}(?::\d{{2,5}})?(?:[/?#]\S*)?"
)

ENDS = frozenset(".!?։؟۔।॥။።‼‽⁇⁈⁉﹒﹖﹗！．？｡。")
"""Marks that end a sentence where one stands alone as a word."""


def words(text: str) -> list[str]:
    """Every word and mark of an English text.

    >>> words("They don't (e.g. in the U.S.) pay $5,000.")
    ['They', 'do', "n't", '(', 'e.g.', 'in', 'the', 'U.S.', ')', 'pay', '$', '5,000', '.']
    """
    return spelled(text.split()).split()


def spelled(pieces: list[str]) -> str:
    """The words of text that is parted at its white space, with one space between each two."""
    is_short = max(map(len, pieces), default=0) <= _SHORT
    return " ".join(map(_memory().__getitem__, pieces) if is_short else map(_parted, pieces))


def sentences(line: str, enough: int) -> int:
    """Sentences of a line, counted no further than ``enough``.

    >>> sentences("It works. Mr. Smith (of the U.S.) says so!", 5)
    2
    """
    begun, is_ended = 0, True
    for word in chain.from_iterable(map(_words_of, line.split())):
        if word in ENDS:
            is_ended, begun = True, max(begun, 1)
        elif is_ended and not (begun and _is_mark(word)):
            is_ended, begun = False, begun + 1
            if begun >= enough:
                break
    return begun


def _words_of(piece: str) -> list[str]:
    return (_memory()[piece] if len(piece) <= _SHORT else _parted(piece)).split(" ")


@lru_cache(4096)
def _is_mark(word: str) -> bool:
    return all(unicodedata.category(character).startswith("P") for character in word)


class _Memory(dict[str, str]):
    """Pieces with their words: some tens of megabytes at most."""

    def __missing__(self, piece: str) -> str:
        if len(self) >= REMEMBERED:
            self.clear()
        return self.setdefault(piece, _parted(piece))


@cache
def _memory() -> _Memory:
    return _Memory()


def _parted(piece: str) -> str:
    return " ".join(_parts(piece))


def _parts(piece: str) -> tuple[str, ...]:
    whole = whole_pieces()
    if piece in whole:
        return whole[piece]
    if piece.isalpha() or len(piece) > LONGEST:
        return (piece,)
    if _WORD_AND_MARK.fullmatch(piece) and piece[:-1] not in whole:
        return piece[:-1], piece[-1]
    opening, core, closing = _peeled(piece, whole)
    inner = whole.get(core) or ((core,) if core.isalnum() or _ADDRESS.fullmatch(core) else _divided(core))
    found = (*opening, *inner, *reversed(closing))
    return _rejoined(found, whole) if len(found) > 2 else found


def _peeled(core: str, whole: dict[str, tuple[str, ...]]) -> tuple[list[str], str, list[str]]:
    """Marks in front, what is left, marks behind (the outermost first)."""
    opening: list[str] = []
    closing: list[str] = []
    while core and not core.isalpha() and core not in whole:
        front = _OPENING.match(core)
        start = front.end() if front else 0
        if start and core[start:] in whole:
            opening.append(core[:start])
            return opening, core[start:], closing
        stop = _closing(core, start)
        back = stop < len(core)
        if back and core[:stop] in whole:
            closing.append(core[stop:])
            return opening, core[:stop], closing
        if not (front or back):
            break
        opening += [core[:start]] if front else []
        closing += [core[stop:]] if back else []
        core = core[start:stop]
    return opening, core, closing


def _closing(core: str, start: int) -> int:
    """Where the last mark of what begins at ``start`` begins; the end where there is none."""
    before_dots = len(core.rstrip("."))
    if len(core) - before_dots > 1:
        return max(start, before_dots)
    found = _CLOSING.search(core, max(start, len(core) - _LONGEST_UNIT))
    return found.start() if found else len(core)


def _divided(core: str) -> tuple[str, ...]:
    """Parted at the marks inside: "dyn-o-mite", "and,but", "End.Begin"."""
    found, start = [], 0
    for mark in _INSIDE.finditer(core):
        if mark.start():
            found += [core[start : mark.start()], mark.group()]
            start = mark.end()
    return tuple(part for part in (*found, core[start:]) if part)


def _rejoined(parts: tuple[str, ...], whole: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Marks that were parted and make a known sign together, such as "):", are one again."""
    found: list[str] = []
    start = 0
    while start < len(parts):
        ends = range(min(len(parts), start + 6), start + 1, -1)
        stop = next((end for end in ends if "".join(parts[start:end]) in whole), start + 1)
        found += whole["".join(parts[start:stop])] if stop > start + 1 else [parts[start]]
        start = stop
    return tuple(found)
