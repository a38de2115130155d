"""Personal data and secrets taken out of texts, and places in these texts moved along."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lathe.core.data import RowError

_LEFT, _RIGHT = r"(?<![0-9A-Za-z])", r"(?![0-9A-Za-z])"  # \b sees no border between a letter and a Chinese character
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_PATTERNS = {
    "KEY": (
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
        rf"|{_LEFT}(?:sk|pk|rk|ghp|gho|ghs|ghu|hf|glpat|xox[abprs]|github_pat)[-_][A-Za-z0-9_-]{{16,}}"
        rf"|{_LEFT}(?:AKIA|ASIA|AIza|LTAI)[A-Za-z0-9_-]{{12,}}"
        rf"|{_LEFT}eyJ[A-Za-z0-9_-]{{8,}}\.[A-Za-z0-9_-]{{8,}}\.[A-Za-z0-9_-]*"
        rf"|(?i:(?<=bearer )[A-Za-z0-9._~+/=-]{{16,}})"
        r"|(?i:(?<=password=)|(?<=password: )|(?<=passwd=)|(?<=token=)|(?<=api_key=)|(?<=密码：)|(?<=密码:))"
        r"[^\s,;，；。]+"
        rf"|{_LEFT}[0-9a-fA-F]{{32,}}{_RIGHT}"
    ),
    "EMAIL": r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}",
    "ID": rf"{_LEFT}\d{{6}}(?:18|19|20)\d{{2}}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{{3}}[\dXxＸ]{_RIGHT}"
    rf"|{_LEFT}\d{{3}}-\d{{2}}-\d{{4}}{_RIGHT}",
    "CARD": rf"{_LEFT}(?:\d[ -]?){{12,18}}\d{_RIGHT}",
    "IP": rf"(?<![0-9A-Za-z.]){_OCTET}(?:\.{_OCTET}){{3}}(?![0-9A-Za-z]|\.[0-9])"
    r"|(?<![0-9A-Za-z:])(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}(?![0-9A-Za-z:])"
    r"|(?<![0-9A-Za-z:])(?:[0-9A-Fa-f]{1,4}:){2,6}:(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,4})?(?![0-9A-Za-z:])",
    "PHONE": (
        rf"(?:{_LEFT}|(?<=[+＋]))(?:[+＋]?\d{{1,3}}[ -]?)?1[3-9]\d[ -]?\d{{4}}[ -]?\d{{4}}{_RIGHT}"
        rf"|[+＋]\d{{1,3}}(?:[ .-]?\(?\d{{1,4}}\)?){{2,5}}{_RIGHT}"
        rf"|(?:{_LEFT}|\()\d{{3}}\)?[ .-]\d{{3}}[ .-]\d{{4}}{_RIGHT}"
        rf"|{_LEFT}[(（]?0\d{{2,3}}[)） -]?\d{{7,8}}{_RIGHT}"
        rf"|{_LEFT}[48]00[ -]\d{{3}}[ -]?\d{{4}}{_RIGHT}"
    ),
}
_ANY = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _PATTERNS.items()))


@dataclass(frozen=True)
class Redacted:
    """A text without its personal data, and what became of places in it."""

    text: str
    moves: tuple[tuple[int, int, int], ...]  # start and end in the old text in code points, and the end in the new one

    def place(self, old: int) -> int:
        """Raises ``RowError`` for a place inside of what was taken out."""
        shift = 0
        for start, end, new_end in self.moves:
            if old <= start:
                break
            if old < end:
                raise RowError(
                    "correction", "", "begins or ends inside of personal data, which is redacted", "mark all of it"
                )
            shift = new_end - end
        return old + shift


def redact(text: str) -> Redacted:
    """E-mail addresses, numbers of phones, cards and persons, IP addresses, keys and passwords.

    >>> redact("write to ann@example.org, 电话13812345678").text
    'write to [EMAIL], 电话[PHONE]'
    """
    parts, moves, at, size = list[str](), list[tuple[int, int, int]](), 0, 0
    for match in _ANY.finditer(text):
        name = match.lastgroup or ""
        if name == "CARD" and not _is_card(match[0]):
            continue
        before = text[at : match.start()]
        size += len(before) + len(name) + 2
        parts += [before, f"[{name}]"]
        moves.append((match.start(), match.end(), size))
        at = match.end()
    return Redacted("".join([*parts, text[at:]]), tuple(moves))


def redacted(value: Any, text: str = "") -> Any:
    """A value of JSON without personal data; its places ("start", "end") count in ``text``. Raises ``RowError``."""
    if isinstance(value, str):
        return redact(value).text
    if isinstance(value, list | tuple):
        _refuse_split(value)
        return [redacted(one, text) for one in value]
    if isinstance(value, Mapping):
        moved = redact(text)
        places = {"start", "end", "answer_start"} if text else set()
        return {
            name: moved.place(one) if name in places and type(one) is int else redacted(one, text)
            for name, one in value.items()
        }
    return value


def _refuse_split(values: Any) -> None:
    """A number that stands in several tokens cannot be taken out of one of them."""
    if values and all(isinstance(one, str) for one in values):
        single = sum(len(redact(one).moves) for one in values)
        if any(len(redact(gap.join(values)).moves) > single for gap in ("", " ")):
            raise RowError("row", "", "holds personal data over several tokens, which is redacted", "send it as a text")


def _is_card(number: str) -> bool:
    """By its check digit (Luhn)."""
    digits = [int(one) for one in number if one.isdecimal()]
    doubled = [sum(divmod(2 * one, 10)) for one in digits[-2::-2]]
    return (sum(digits[::-2]) + sum(doubled)) % 10 == 0
