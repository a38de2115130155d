"""Personal data is taken out, in English and Chinese; places after it mean what they did."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lathe.core.data import RowError
from lathe.feedback.redact import redact, redacted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("write to ann.b+c@example.co.uk!", "write to [EMAIL]!"),
        ("我的手机号是13812345678，谢谢", "我的手机号是[PHONE]，谢谢"),
        ("电话：+86 138 1234 5678", "电话：[PHONE]"),
        ("call (415) 555-2671 now", "call [PHONE] now"),
        ("身份证11010519491231002X。", "身份证[ID]。"),
        ("SSN 078-05-1120", "SSN [ID]"),
        ("card 4111 1111 1111 1111", "card [CARD]"),
        ("from 192.168.10.1 to 2001:db8::1", "from [IP] to [IP]"),
        ("key sk-abcdefghijklmnop1234", "key [KEY]"),
        ("密码：hunter2。", "密码：[KEY]。"),
        ("Authorization: Bearer abcdefghijklmnop.qrst", "Authorization: Bearer [KEY]"),
    ],
)
def test_personal_data_is_taken_out(text, wanted):
    assert redact(text).text == wanted


@pytest.mark.parametrize(
    "text",
    ["在2024年买了100000件", "version 1.2.3.", "3.14159265358979", "order 4111 1111 1111 1112", "12:30:45", "a@b", ""],
)
def test_other_numbers_stay(text):
    assert redact(text).text == text


@given(some.text(max_size=60))
def test_redaction_is_done_once(text):
    assert redact(redact(text).text).text == redact(text).text


def test_spans_after_personal_data_mark_the_same_characters():
    text = "👍 ann@example.org 住在北京 with Bob"
    spans = [{"start": text.index(word), "end": text.index(word) + len(word)} for word in ("北京", "Bob")]
    moved = redacted({"spans": spans}, text)["spans"]
    new = redact(text).text
    assert [new[one["start"] : one["end"]] for one in moved] == ["北京", "Bob"]


def test_a_span_that_is_personal_data_marks_what_stands_for_it():
    text = "mail ann@example.org"
    moved = redacted({"start": 5, "end": len(text)}, text)
    assert redact(text).text[moved["start"] : moved["end"]] == "[EMAIL]"


def test_a_span_that_begins_inside_of_personal_data_is_refused():
    with pytest.raises(RowError, match="inside of personal data"):
        redacted({"start": 7, "end": 20}, "mail ann@example.org")


def test_a_number_in_several_tokens_is_refused():
    with pytest.raises(RowError, match="several tokens"):
        redacted({"tokens": ["138", "1234", "5678"]})
