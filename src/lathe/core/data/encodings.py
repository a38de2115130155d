"""Encodings of text: declared, or told by which one makes Chinese of the bytes; where that is not clear, none is taken.

Bytes of GB18030 nearly always decode as Big5 as well, and the other way round. What tells them apart is sense: in
Chinese of any kind one character in five is among the hundred most frequent, in a wrong reading hardly one in fifty.
"""

import codecs
import re
from functools import cache
from itertools import chain

from lathe.core.errors import RecipeError

NAMES = {
    "utf-8": "UTF-8",
    "gb18030": "GB18030",
    "big5hkscs": "Big5",
    "utf-16-le": "UTF-16LE",
    "utf-16-be": "UTF-16BE",
    "cp1252": "Windows-1252",
}
"""Codecs that are looked for, and what they are called."""

CHINESE = ("gb18030", "big5hkscs")
MARKS = {"utf-8": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}

USUAL = 0.9  # at least this share of Chinese is characters of the standards' first levels, punctuation and the like
FREQUENT = 0.12  # at least this share of its ideographs is in _FREQUENT
ENOUGH = 12  # ideographs, to tell

_FREQUENT = frozenset(
    "的一是不了在人有我他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可里后小么心多天而能好都然没日于"
    "起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长"
    "這來個國說們為時會著過學對裡後麼沒於還發當無開見經頭動兩長與"
)
_PUNCTUATION = re.compile("[\u2010-\u2027\u3000-\u303f\uff00-\uffef]")
_IDEOGRAPH = re.compile("[\u3400-\u9fff]")
_PRINTABLE = re.compile(r"[\t\n\r\x20-\x7e]")


class UnreadableError(Exception):
    """Bytes that are not text in the encoding of their file, or also in another."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.reason, self.fix = reason, fix


def detect(head: bytes) -> str | None:
    """The codec of a text that begins with ``head``; None where it is not clear, or no text.

    A text is UTF-8 when most of its lines that are not ASCII are: lines in another encoding are faults then.
    """
    if marked := next((codec for codec, mark in MARKS.items() if head.startswith(mark)), None):
        return marked
    lines = [line for line in _whole_lines(head) if not line.isascii()]
    if head.count(0) * 8 <= len(head) and sum(_is_utf8(line) for line in lines) * 2 >= len(lines):
        return "utf-8"
    if 0 in head:
        return _clearest({codec: _share(_PRINTABLE, head, codec) for codec in ("utf-16-le", "utf-16-be")}, 0.5)
    return _clearest({codec: _sense(lines, codec) for codec in CHINESE}, FREQUENT)


def decode(raw: bytes, codec: str, offset: int = 0) -> str:
    """Text of bytes that begin at ``offset`` of a file. Raises ``UnreadableError``."""
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError as error:
        found = f"byte 0x{raw[error.start]:02x} at offset {offset + error.start}"
        fix = "save the line as UTF-8" if codec == "utf-8" else "mend or delete the line"
        raise UnreadableError(f"not {name(codec)}: {found}", f"{fix}{readings(raw, codec)}") from None
    if codec in CHINESE and not raw.isascii() and _is_utf8(raw) and _usual(text) < USUAL:
        reason = f"UTF-8 in a file that is {name(codec)}, or the other way round"
        raise UnreadableError(reason, f"save the line in one encoding{readings(raw)}")
    return text


def name(codec: str) -> str:
    return NAMES.get(codec, codec)


def codec_of(encoding: str) -> str:
    """The codec that an option names. Raises ``RecipeError``."""
    try:
        codec = codecs.lookup("big5hkscs" if encoding.lower() == "big5" else encoding).name
        is_line_based = codec in NAMES or bytes(range(128)).decode(codec).isascii()
    except (LookupError, UnicodeError):
        is_line_based = False
    if not is_line_based:
        known = "utf-8, gb18030, big5, utf-16-le, utf-16-be, cp1252, shift_jis, euc_kr"
        raise RecipeError(f"encoding {encoding!r} cannot be read; it may be detect, {known} and others that hold ASCII")
    return codec


def readings(raw: bytes, but: str = "") -> str:
    """What bytes would say in the encodings they may be in: for a person to judge.

    >>> readings("很好".encode("gb18030"))
    "; in GB18030 it reads '很好', in Big5 '綬疑', in Windows-1252 'ºÜºÃ'"
    """
    first = next((place for place, byte in enumerate(raw) if byte > 127), 0)
    start = max(raw.rfind(b"\n", 0, first), first - 8, 0)
    found: list[str] = []
    for codec in ("utf-8", *CHINESE, "cp1252"):
        text = raw[start : start + 60].decode(codec, "ignore")
        if codec != but and _decodes(raw, codec):
            found.append(f"in {NAMES[codec]}{' it reads' * (not found)} {text[:24]!r}")
    return f"; {', '.join(found)}" if found else ""


def _whole_lines(head: bytes) -> list[bytes]:
    """All but the last, which may be cut, unless there is no other."""
    *lines, last = head.split(b"\n")
    return lines or [_without_torn_end(last)]


def _without_torn_end(line: bytes) -> bytes:
    """A line without the character that the end of the sample may have cut in two."""
    for size in range(4):
        if _is_utf8(line[: len(line) - size]):
            return line[: len(line) - size]
    return line


def _is_utf8(raw: bytes) -> bool:
    return _decodes(raw, "utf-8")


def _decodes(raw: bytes, codec: str) -> bool:
    try:
        raw.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def _sense(lines: list[bytes], codec: str) -> float:
    """Share of the ideographs that are frequent ones; 0 where most is no Chinese, or too little to tell."""
    good = [line for line in lines if _decodes(line, codec)] if len(lines) > 1 else lines
    text = b"\n".join(good).decode(codec, "ignore")
    ideographs = _IDEOGRAPH.findall(text)
    if len(good) < USUAL * len(lines) or len(ideographs) < ENOUGH or _usual(text) < USUAL:
        return 0.0
    return sum(character in _FREQUENT for character in ideographs) / len(ideographs)


def _usual(text: str) -> float:
    """Share of the characters beyond ASCII that Chinese text usually has."""
    beyond = [character for character in text if character > "\x7f"]
    known = _first_levels()
    return sum(character in known or bool(_PUNCTUATION.match(character)) for character in beyond) / max(len(beyond), 1)


@cache
def _first_levels() -> frozenset[str]:
    """The ideographs that GB2312 and Big5 put on their first levels: some 99 of 100 in a text."""
    trails = [*range(0x40, 0x7F), *range(0xA1, 0xFF)]
    gb = (bytes([lead, trail]).decode("gb2312", "ignore") for lead in range(0xB0, 0xD8) for trail in trails)
    big5 = (bytes([lead, trail]).decode("big5", "ignore") for lead in range(0xA4, 0xC7) for trail in trails)
    return frozenset(chain.from_iterable(chain(gb, big5)))


def _share(pattern: re.Pattern[str], head: bytes, codec: str) -> float:
    """Share of the characters of a reading that are ASCII text or usual in Chinese."""
    text = head[: len(head) // 2 * 2].decode(codec, "replace")
    plain = len(pattern.findall(text))
    beyond = [character for character in text if character > "\x7f"]
    return (plain + _usual("".join(beyond)) * len(beyond)) / max(len(text), 1)


def _clearest(scores: dict[str, float], least: float) -> str | None:
    """The best reading, if it is good and the others are less than half as good."""
    best, second = sorted(scores, key=lambda codec: -scores[codec])
    return best if scores[best] >= least and scores[second] * 2 < scores[best] else None
