"""Languages: by script, and by a classifier."""

import sys

import pytest

from lathe.core.errors import LatheError
from lathe.core.types import Document
from lathe.corpus.rules import KeepLanguages
from lathe.corpus.rules import language as module

ENGLISH = "The harbour of the old town lies on the north side of the bay, where two rivers meet."
GERMAN = "Der Hafen der alten Stadt liegt an der Nordseite der Bucht, wo zwei Flüsse zusammenfließen."


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("这座古老的港口位于海湾的北岸，使用 Linux 系统。", None),
        ("這座古老的港口", None),
        ("他喜欢「の」这个字，说它很好看，写起来也很方便，所以常常写它。", None),
        ("今日はいい天気ですね。", "language: ja"),
        ("오늘은 날씨가 좋습니다.", "language: ko"),
        ("วันนี้อากาศดี", "language: th"),
        ("12345 !?", "language: none"),
        ("", "language: none"),
    ],
)
def test_scripts_decide(text, found, reason):
    assert reason(KeepLanguages(), text) == found


def test_languages_of_one_script(reason):
    pytest.importorskip("py3langid")
    assert reason(KeepLanguages(), ENGLISH) is None
    assert reason(KeepLanguages(), GERMAN) == "language: de"
    assert reason(KeepLanguages(languages=("de", "fr")), GERMAN) is None
    assert reason(KeepLanguages(languages=("zh",)), ENGLISH) == "language: en"


def test_an_uncertain_text_is_dropped(monkeypatch, reason):
    monkeypatch.setattr(module, "_classifier", lambda: lambda _: ("en", 0.5))
    assert reason(KeepLanguages(), "ok ok") == "language: uncertain"
    assert reason(KeepLanguages(threshold=0.5), "ok ok") is None


def test_the_language_is_noted():
    kept = KeepLanguages()(Document("天气很好", "0", {"url": "x"}))
    assert kept == Document("天气很好", "0", {"url": "x", "language": "zh"})


def test_without_the_library_the_message_says_what_to_install(monkeypatch, reason):
    module._classifier.cache_clear()
    for name in ("py3langid", "py3langid.langid"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(LatheError, match=r"pip install 'lathe\[corpus\]'"):
        reason(KeepLanguages(), "some text")
