"""Personal data: what is hidden, and what only looks like it."""

import pytest

from lathe.corpus.rules import HidePersonalData
from lathe.corpus.rules.personal import is_card_number, is_identity_number


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("Write to ann.lee+x@mail.example.org.", "Write to <email>."),
        ("邮箱：zhang_san@qq.com，欢迎来信", "邮箱：<email>，欢迎来信"),
        ("Ann <ann@example.org>, bob@x.co.uk", "Ann <<email>>, <email>"),
        ("server 8.8.8.8 answers", "server <ip> answers"),
        ("[2001:4860:4860::8888]:53", "[<ip>]:53"),
        ("call +1 415 555 0132 now", "call <phone> now"),
        ("(415) 555-0132 or 415-555-0132", "<phone> or <phone>"),
        ("+44 20 7946 0958.", "<phone>."),
        ("电话：010-62751234。", "电话：<phone>。"),
        ("手机13812345678，微信同号", "手机<mobile>，微信同号"),
        ("+86 138-1234-5678", "<mobile>"),
        ("身份证号11010519491231002X", "身份证号<id_number>"),
        ("身份证 110105194912310029", "身份证 110105194912310029"),
        ("card 4111 1111 1111 1111 ok", "card <bank_card> ok"),
        ("卡号6222021234567890128", "卡号<bank_card>"),
        ("卡号6222021234567890129", "卡号6222021234567890129"),
    ],
)
def test_what_is_hidden(text, hidden, left):
    assert left(HidePersonalData(), text) == hidden


@pytest.mark.parametrize(
    "text",
    [
        "a@b and @name and x@y.",
        "version 1.2.3.4.5, section 10.0.0.1, host 192.168.1.1, 127.0.0.1 and ::1",
        "at 12:30:45 on 2024-01-02, 2024/01/02",
        "in 1987, 1,234,567 people, 3.14159265358979, 1234567890",
        "ISBN 978-7-111-12345-6, 12345678901234567890",
        "order 23812345678, 138123456789",
        "4111 1111 1111 1112",
        "第1234567号",
    ],
)
def test_what_only_looks_like_it(text, left, counts):
    assert left(HidePersonalData(), text) == text
    assert counts(HidePersonalData(), text) == {}


def test_each_kind_is_counted(counts):
    text = "a@example.org, b@example.org, 13812345678 and 8.8.4.4"
    found = {"personal data: email": 2, "personal data: ip": 1, "personal data: mobile": 1}
    assert counts(HidePersonalData(), text) == found


def test_only_the_kinds_asked_for_are_hidden(left):
    assert left(HidePersonalData(kinds=("mobile",)), "a@example.org 13812345678") == "a@example.org <mobile>"


def test_stars_keep_the_form(left):
    assert left(HidePersonalData(by="stars"), "a.b@example.org, 138 1234 5678") == "*.*@*******.***, *** **** ****"


@pytest.mark.parametrize("by", ["tag", "stars"])
def test_hiding_twice_changes_nothing_more(by, left):
    text = "a@example.org 13812345678 11010519491231002X 8.8.8.8 +1 415 555 0132 4111111111111111"
    once = left(HidePersonalData(by=by), text)
    assert left(HidePersonalData(by=by), once) == once


def test_check_digits():
    assert is_identity_number("11010519491231002x")
    assert not is_identity_number("110105194913310028")  # month 13
    assert is_card_number("5555555555554444")
    assert not is_card_number("5555555555554445")
    assert not is_card_number("0000000000000000")  # of no issuer
