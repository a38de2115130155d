"""Characters: wrong decodings, full-width forms, traditional Chinese."""

import sys

import pytest

from lathe.core.errors import LatheError
from lathe.corpus.rules import ConvertChinese, NarrowFullWidth, RepairEncoding
from lathe.corpus.rules import characters as module

GARBLED = "今天天气很好我们".encode().decode("gb18030")


def test_utf8_read_as_gb18030_is_repaired(left, counts):
    pytest.importorskip("ftfy")
    text = f"first line\n{GARBLED}\n正常的中文不变。"
    assert left(RepairEncoding(), text) == "first line\n今天天气很好我们\n正常的中文不变。"
    assert counts(RepairEncoding(), text) == {"encoding repaired": 1}


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("He didnâ€™t go to the cafÃ©.", "He didn’t go to the café."),
        ("æ\x88\x91ä»¬å\x9c¨è¿\x99é\x87\x8c", "我们在这里"),
        ("plain ASCII", "plain ASCII"),
        ("a right café’s text", "a right café’s text"),
        ("正常的中文文本，没有乱码。", "正常的中文文本，没有乱码。"),
        ("联通", "联通"),
    ],
)
def test_wrong_decodings(text, repaired, left):
    pytest.importorskip("ftfy")
    assert left(RepairEncoding(), text) == repaired
    assert left(RepairEncoding(), repaired) == repaired


def test_full_width_letters(left):
    assert left(NarrowFullWidth(), "ＡＢＣ　１２３，你好！") == "ABC 123，你好！"
    assert left(NarrowFullWidth(characters="all"), "ＡＢＣ，你好！") == "ABC,你好!"
    assert left(NarrowFullWidth(), "abc") == "abc"


def test_traditional_and_simplified(left):
    pytest.importorskip("opencc")
    assert left(ConvertChinese(), "這裡的圖書館很大") == "这里的图书馆很大"
    assert left(ConvertChinese(to="traditional"), "这里的图书馆很大") == "這裏的圖書館很大"
    assert left(ConvertChinese(to="Taiwan"), "这里的图书馆很大") == "這裡的圖書館很大"
    assert left(ConvertChinese(), "no Chinese here") == "no Chinese here"


@pytest.mark.parametrize(
    ("rule", "library", "loaded"),
    [(RepairEncoding(), "ftfy", module._read_as_latin), (ConvertChinese(), "opencc", module._converter)],
)
def test_without_the_library_the_message_says_what_to_install(rule, library, loaded, monkeypatch, left):
    loaded.cache_clear()
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(LatheError, match=r"pip install 'lathe\[corpus\]'"):
        left(rule, "中文")
