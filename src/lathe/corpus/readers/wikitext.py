"""Wikitext as plain text: links and emphasis become their words; tables, templates, notes, files and formulas go.

One pass over the brackets with a stack, so that time grows with the length of a page however it is nested, and a tenth
of what a parser takes that makes a tree of it.
"""

import html
import re
from collections import Counter
from typing import NamedTuple

WITHOUT_TEXT = (
    r"ref|gallery|math|chem|ce|timeline|imagemap|score|syntaxhighlight|source|graph|mapframe|maplink|hiero|inputbox"
    r"|categorytree|templatestyles|templatedata|table|style|script|section|references|indicator"
)
"""Tags whose content is not running text."""

SHOWN = {"lang": 2, "nowrap": 1, "nobr": 1, "link-en": 1, "le": 1, "tsl": 3, "small": 1, "big": 1, "abbr": 1}
"""Templates that show one of their arguments: which one."""

VARIANTS = ("zh-cn", "zh-hans", "zh", "zh-hant", "zh-tw", "zh-hk")
"""Of words that Chinese Wikipedia has in several variants, the first of these is taken."""

_BRACKET = re.compile(  # begins with a class of characters, for which a search is fast
    rf"[<{{}}|\[\]](?:(?<=<)!--|(?<=<)(?:{WITHOUT_TEXT})\b[^<>]*>|(?<=<)/(?:{WITHOUT_TEXT})\s*>"
    r"|(?<=\{)[{|]|(?<=\})\}|(?<=\|)\}(?!\})|(?<=\[)\[|(?<=\])\])",
    re.IGNORECASE,
)
_OPENING = {"{{": "template", "[[": "link", "{|": "table"}
_CLOSING = {"}}": "template", "]]": "link", "|}": "table"}
_TAG_NAME = re.compile(r"</?(\w+)")
_EXTERNAL = re.compile(r"\[(?:https?:|ftp:|mailto:)?//[^\s\[\]]+[ \t]*([^\[\]\n]*)\]", re.IGNORECASE)
_VARIANT = re.compile(r"-\{(?:([^{}|]*)\|)?([^{}]*)\}-")
_BREAK = re.compile(r"<br\b[^<>]*>", re.IGNORECASE)
_ANY_TAG = re.compile(r"</?[a-z][^<>]{0,1000}>", re.IGNORECASE)
_SWITCH = re.compile(r"__[A-Z]+__|'{2,}|\{\{+|\}\}+|\[\[+|\]\]+")
_EMPTY_BRACKETS = re.compile(r"[ \t]?[(（][\s,;:，；：、]*[)）]")
_HEADING = re.compile(r"(={1,6})[ \t]*(.+?)[ \t]*\1[ \t]*")
_LIST = re.compile(r"[*#:;]+[ \t]*")
_LANGUAGE_LINK = re.compile(r"[a-z]{2,3}(-[a-z]+)*:\S")


class Namespaces(NamedTuple):
    """How links begin that show no text, in lower case."""

    hidden: frozenset[str]

    @classmethod
    def of(cls, file: str | None = None, category: str | None = None) -> "Namespaces":
        """With the names that a wiki has for them besides the usual ones."""
        usual = {"file", "image", "media", "category", "文件", "档案", "檔案", "图像", "圖像", "分类", "分類"}
        return cls(frozenset(usual | {name.lower() for name in (file, category) if name}))


class _Open(NamedTuple):
    kind: str  # template, table, link or the name of a tag
    place: int  # in the pieces of the output, of the bracket itself


def plain_text(wikitext: str, namespaces: Namespaces | None = None) -> str:
    """The running text of a page, its headings on lines of their own where something stands under them.

    >>> plain_text("'''Albedo''' ({{IPA|x}}) is [[Light|reflected light]].<ref>A book.</ref>")
    'Albedo is reflected light.'
    """
    text = _without_brackets(wikitext.replace("\r\n", "\n"), namespaces or Namespaces.of())
    text = _EXTERNAL.sub(r"\1", _VARIANT.sub(_variant, text))
    text = _SWITCH.sub("", _ANY_TAG.sub("", _BREAK.sub("\n", text)))
    text = html.unescape(text).replace("\xa0", " ").replace("\0", "")
    return _lines(_EMPTY_BRACKETS.sub("", text))


def _without_brackets(text: str, namespaces: Namespaces) -> str:
    pieces: list[str] = []
    stack: list[_Open] = []
    waiting: Counter[str] = Counter()  # brackets on the stack, by kind
    place = 0
    while match := _BRACKET.search(text, place):
        pieces.append(text[place : match.start()])
        bracket, place = match[0], match.end()
        if bracket == "<!--":
            end = text.find("-->", place)
            place = end + 3 if end >= 0 else len(text)
        elif closed := _closed_by(bracket):
            if waiting[closed]:
                _close(closed, pieces, stack, waiting, namespaces)
        elif opened := _opened_by(bracket):
            stack.append(_Open(opened, len(pieces)))
            waiting[opened] += 1
            pieces.append(bracket)
    return "".join([*pieces, text[place:]])


def _closed_by(bracket: str) -> str | None:
    if bracket.startswith("</"):
        return bracket[2:-1].strip().lower()
    return _CLOSING.get(bracket)


def _opened_by(bracket: str) -> str | None:
    """The name of what a bracket opens; None for a tag that is closed in itself."""
    if bracket.startswith("<"):
        match = _TAG_NAME.match(bracket)
        return match[1].lower() if match and not bracket.endswith("/>") else None
    return _OPENING[bracket]


def _close(kind: str, pieces: list[str], stack: list[_Open], waiting: Counter[str], namespaces: Namespaces) -> None:
    """Replace what stands between two brackets by what it shows; brackets inside that were never closed are text."""
    while (opened := stack.pop()).kind != kind:
        waiting[opened.kind] -= 1
    waiting[kind] -= 1
    inside = "".join(pieces[opened.place + 1 :]) if kind in ("link", "template") else ""
    del pieces[opened.place :]
    if kind == "link":
        pieces.append(_shown_link(inside, namespaces))
    elif kind == "template":
        pieces.append(_shown_template(inside))


def _shown_link(inside: str, namespaces: Namespaces) -> str:
    target, bar, label = inside.partition("|")
    target = target.strip()
    prefix = target.partition(":")[0].strip().lower()
    if prefix in namespaces.hidden and ":" in target or (not bar and _LANGUAGE_LINK.match(target)):
        return ""
    return label if label.strip() else target.removeprefix(":")


def _shown_template(inside: str) -> str:
    name, *values = inside.split("|") if len(inside) < 1000 else [""]
    name = name.strip().lower()
    given = [value.strip() for value in values if "=" not in value]
    if name in ("convert", "cvt"):
        return " ".join(given[:2])
    shown = SHOWN.get(name, 0)
    return given[shown - 1] if 0 < shown <= len(given) else ""


def _variant(match: re.Match[str]) -> str:
    """``-{zh-cn:甲; zh-tw:乙}-``; with a flag the rule may be hidden, and without a language it is the text itself."""
    flag, rule = match[1] or "", match[2]
    if flag.strip() in ("H", "T", "-"):
        return ""
    words = dict(
        part.strip().split(":", 1) for part in rule.split(";") if part.strip().startswith("zh") and ":" in part
    )
    return next((words[name].strip() for name in VARIANTS if name in words), "" if words else rule)


def _lines(text: str) -> str:
    """Lines without marks of lists; headings wait until something stands under them."""
    found: list[str] = []
    headings: list[tuple[int, str]] = []
    for line in text.split("\n"):
        line = line.strip()
        if match := _HEADING.fullmatch(line):
            level = len(match[1])
            headings = [heading for heading in headings if heading[0] < level] + [(level, match[2])]
            continue
        if line.startswith(("|", "!", "{|", "----")):  # what is left of a table that was never closed
            continue
        line = " ".join(_LIST.sub("", line, count=1).split()) if _LIST.match(line) else " ".join(line.split())
        if line:
            found += [f"\n{heading}" for _, heading in headings]
            headings = []
            found.append(line)
        elif found and found[-1]:
            found.append("")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(found)).strip()
