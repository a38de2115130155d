"""Lines that pages say about themselves: cookies, scripts, terms, privacy, rights; in English and Chinese."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from lathe.core.recipe import recipe
from lathe.core.types import Document
from lathe.corpus.protocol import Changed, Dropped


class Saying(NamedTuple):
    """What tells that a line is wrong: one of some phrases, in lower case."""

    fault: str
    phrases: tuple[str, ...]


JAVASCRIPT = Saying("javascript", ("javascript",))
POLICY = Saying(
    "policy",
    ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"),
)
CHINESE_POLICY = Saying(
    "policy",
    (
        *(
            "隐私政策",
            "隐私权政策",
            "隐私声明",
            "使用条款",
            "服务条款",
            "用户协议",
            "免责声明",
            "使用cookie",
            "使用 cookie",
        ),
        *(
            "隱私政策",
            "隱私權政策",
            "隱私聲明",
            "使用條款",
            "服務條款",
            "用戶協議",
            "免責聲明",
            "cookie政策",
            "cookie 政策",
        ),
    ),
)


@recipe
class DropBoilerplate:
    """Take away short lines on cookies, scripts, terms of use, privacy and rights."""

    kind: Literal["drop_boilerplate"] = "drop_boilerplate"
    max_characters: int = 300
    """Longer lines are prose on the matter, and stay."""
    phrases: tuple[str, ...] = ()
    """More phrases, in lower case, that tell such a line."""

    def __call__(self, document: Document) -> Document | Changed | Dropped:
        sayings = present(document.text, (*_SAYINGS, Saying("phrase", self.phrases)))
        if not sayings and not _RIGHTS.search(document.text):
            return document
        kept: list[str] = []
        taken = Counter[str]()
        for line in document.text.split("\n"):
            wrong = self._fault(line, sayings) if len(line) <= self.max_characters else None
            if wrong:
                taken[f"boilerplate: {wrong}"] += 1
            else:
                kept.append(line)
        return edited(document, "\n".join(kept), taken, "boilerplate") if taken else document

    def _fault(self, line: str, sayings: Sequence[Saying]) -> str | None:
        return fault(line, sayings) or ("rights" if _RIGHTS.search(line) else None)


_SAYINGS = (JAVASCRIPT, POLICY, CHINESE_POLICY)
_RIGHTS = re.compile(
    r"(?i)all rights reserved|版[权權]所有|[\u4e00-\u9fff]ICP[备備证證]|公网安备"
    r"|未经(?:授权|许可)[^\n]{0,10}(?:转载|复制)"
)


def present(text: str, sayings: Iterable[Saying]) -> list[Saying]:
    """Those that a text holds at all: few texts hold any, and their lines need no look."""
    lowered = text.lower()
    found = (Saying(fault, tuple(phrase for phrase in phrases if phrase in lowered)) for fault, phrases in sayings)
    return [saying for saying in found if saying.phrases]


def fault(line: str, sayings: Sequence[Saying]) -> str | None:
    """The first that a line says."""
    if not sayings:
        return None
    lowered = line.lower()
    return next((name for name, phrases in sayings if any(phrase in lowered for phrase in phrases)), None)


def edited(document: Document, text: str, taken: Counter[str], rule: str) -> Document | Changed | Dropped:
    """A document with lines taken away."""
    if not text.strip():
        return Dropped(document, f"{rule}: no line is left")
    changed = document if text == document.text else replace(document, text=text)
    return Changed(changed, dict(taken)) if taken else changed
