"""Personal data that has a form: addresses and numbers, tagged or masked."""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Literal, NamedTuple, TypeAlias

from lathe.core.recipe import recipe
from lathe.core.types import Document
from lathe.corpus.protocol import Changed

Kind: TypeAlias = Literal["email", "ip", "id_number", "bank_card", "mobile", "phone"]


@recipe
class HidePersonalData:
    """Put tags or stars in the place of e-mail and network addresses and of phone, identity and card numbers."""

    kind: Literal["hide_personal_data"] = "hide_personal_data"
    kinds: tuple[Kind, ...] = ("email", "ip", "id_number", "bank_card", "mobile", "phone")
    """What is hidden: "ip" of public networks only, "mobile" numbers of mainland China, other "phone" numbers."""
    by: Literal["tag", "stars"] = "tag"
    """A tag that names the kind, such as <email>, or a star for each letter and digit."""

    def __call__(self, document: Document) -> Document | Changed:
        text, counts = hidden(document.text, self.kinds, self.by)
        if not counts:
            return document
        return Changed(replace(document, text=text), {f"personal data: {kind}": n for kind, n in counts.items()})


def hidden(text: str, kinds: tuple[Kind, ...], by: Literal["tag", "stars"]) -> tuple[str, Counter[Kind]]:
    """The text without them, and how many of each kind there were.

    >>> hidden("write to ann@example.org, 13812345678", ("email", "mobile"), "tag")
    ('write to <email>, <mobile>', Counter({'email': 1, 'mobile': 1}))
    """
    counts = Counter[Kind]()
    signs: dict[re.Pattern[str], bool] = {}
    for kind, form in _FORMS.items():
        if kind not in kinds:
            continue
        if form.sign not in signs:
            signs[form.sign] = form.sign.search(text) is not None
        if signs[form.sign]:
            text = _without(text, kind, form, by, counts)
    return text, counts


class _Form(NamedTuple):
    sign: re.Pattern[str]  # what is in every one: most texts have none, and need no more than one look
    pattern: re.Pattern[str]
    is_real: Callable[[str], bool]  # whether what has the form is one


def _without(text: str, kind: Kind, form: _Form, by: str, counts: Counter[Kind]) -> str:
    def put(found: re.Match[str]) -> str:
        if not form.is_real(found.group()):
            return found.group()
        counts[kind] += 1
        return f"<{kind}>" if by == "tag" else _LETTER.sub("*", found.group())

    return form.pattern.sub(put, text)


def _is_public_address(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False


def is_identity_number(text: str) -> bool:
    """Whether a Chinese identity number (GB 11643) has a date of birth and the right check character (ISO 7064).

    >>> is_identity_number("11010519491231002X"), is_identity_number("110105194912310021")
    (True, False)
    """
    try:
        born = date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    rest = sum(int(digit) * 2 ** (17 - place) for place, digit in enumerate(text[:17])) % 11
    return born.year >= 1850 and text[17].upper() == "10X98765432"[rest]


def is_card_number(text: str) -> bool:
    """Whether digits end in their check digit (Luhn; ISO/IEC 7812) and begin as bank cards do.

    >>> is_card_number("4111 1111 1111 1111"), is_card_number("4111 1111 1111 1112")
    (True, False)
    """
    digits = [int(character) for character in text if character.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return _ISSUER.match("".join(map(str, digits))) is not None and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_phone(text: str) -> bool:
    return 7 <= sum(map(str.isdigit, text)) <= 15


def _always(_: str) -> bool:
    return True


_AT, _GROUPS = re.compile("@"), re.compile(r"\d\.\d{1,3}\.\d|:[0-9A-Fa-f]{0,4}:")
_NUMBER = re.compile(r"\d(?:[ ().-]{0,3}\d){6}")
_LETTER = re.compile(r"[^\W_]")
_ISSUER = re.compile(r"3[47]|3528|4|5[1-5]|2[2-7]|6(?:011|2|5)")  # American Express ... UnionPay
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_ADDRESS = (
    rf"(?<![\w.:])(?:{_OCTET}(?:\.{_OCTET}){{3}}(?![\w:]|\.\d)"
    r"|(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:]))"
)
_FORMS: dict[Kind, _Form] = {  # in this order: an identity number holds what looks like others
    "email": _Form(
        _AT,
        re.compile(
            r"(?<![\w.%+-])[A-Za-z0-9][\w.%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])", re.ASCII
        ),
        _always,
    ),
    "ip": _Form(_GROUPS, re.compile(_ADDRESS, re.ASCII), _is_public_address),
    "id_number": _Form(
        _NUMBER, re.compile(r"(?<![\dA-Za-z])[1-9]\d{16}[\dXx](?![\dA-Za-z])", re.ASCII), is_identity_number
    ),
    "bank_card": _Form(
        _NUMBER, re.compile(r"(?<![\d.-])\d{4}([ -]?)(?:\d{4}\1){2}\d{1,7}(?![\d-])", re.ASCII), is_card_number
    ),
    "mobile": _Form(
        _NUMBER,
        re.compile(r"(?<![\d.-])(?:\+?86[- ]?)?1[3-9]\d(?:([- ]?)\d{4}\1\d{4})(?![\d-]|\.\d)", re.ASCII),
        _always,
    ),
    "phone": _Form(
        _NUMBER,
        re.compile(
            r"(?<![\w.+-])(?:"
            r"\+[1-9]\d{0,2}(?:[ .-]?\(?\d{1,4}\)?){2,5}"  # international
            r"|\(\d{3}\) ?\d{3}[-. ]\d{4}|\d{3}([-. ])\d{3}\1\d{4}"  # North America
            r"|\(?0\d{2,3}(?:\)|[- ])\d{7,8}"  # China, of a city
            r")(?![\w-]|\.\d)",
            re.ASCII,
        ),
        _is_phone,
    ),
}
