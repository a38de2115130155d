"""Languages: by script where that decides, by the n-grams of bytes that py3langid knows where it does not."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, Literal, NamedTuple

from pydantic import Field

from lathe.core.errors import LatheError
from lathe.core.recipe import recipe
from lathe.core.scripts import script_of
from lathe.core.types import Document
from lathe.corpus.protocol import Dropped

SAMPLE = 1000
"""Characters of a text that tell its language."""


class Language(NamedTuple):
    code: str  # ISO 639-1; "none" of text without letters
    certainty: float  # 0-1


@recipe
class KeepLanguages:
    """Drop texts in other languages, and note the language of the others in their meta data."""

    kind: Literal["keep_languages"] = "keep_languages"
    languages: tuple[str, ...] = Field(("en", "zh"), min_length=1)
    """Languages that are kept, as ISO 639-1 codes."""
    threshold: float = Field(0.65, ge=0, le=1)
    """Smallest certainty."""

    def __call__(self, document: Document) -> Document | Dropped:
        code, certainty = language_of(document.text)
        if code not in self.languages:
            return Dropped(document, f"language: {code}")
        if certainty < self.threshold:
            return Dropped(document, "language: uncertain")
        return replace(document, meta={**document.meta, "language": code})


def language_of(text: str) -> Language:
    """The language of the start of a text.

    >>> language_of("今天天气很好"), language_of("今日はいい天気です"), language_of("1, 2, 3!")
    (Language(code='zh', certainty=1.0), Language(code='ja', certainty=1.0), Language(code='none', certainty=1.0))
    """
    sample = text[:SAMPLE]
    script = script_of(sample)
    if script in ("Han", "Hiragana", "Katakana"):
        return Language("ja" if _has_kana(sample) else "zh", 1.0)
    if script in _ONLY:
        return Language(_ONLY[script], 1.0)
    code, certainty = _classifier()(sample)
    return Language(str(code), float(certainty))


_ONLY = {"none": "none", "Hangul": "ko", "Thai": "th", "Greek": "el", "Armenian": "hy", "Georgian": "ka", "Lao": "lo"}
_ONLY |= {"Khmer": "km", "Tamil": "ta", "Telugu": "te", "Gujarati": "gu", "Malayalam": "ml", "Sinhala": "si"}
"""Scripts that one language is written in, nearly."""


def _has_kana(text: str) -> bool:
    """Japanese has kana in every sentence; a Chinese text may quote a few."""
    kana = sum("\u3040" <= character <= "\u30ff" for character in text)
    return kana * 20 > sum("\u3040" <= character <= "\u9fff" for character in text)


@cache
def _classifier() -> Callable[[str], tuple[Any, Any]]:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise LatheError(f"keep_languages needs {error.name}: pip install 'lathe[corpus]'") from None
    found: Callable[[str], tuple[Any, Any]] = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True).classify
    return found
