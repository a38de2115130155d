"""Blocklists: words, phrases and sites."""

import pytest

from lathe.core.errors import DataError, RecipeError
from lathe.corpus.rules import Blocklist

TERMS = Blocklist(terms=("Casino", "free money", "赌博", "六合彩 app"))


@pytest.mark.parametrize(
    "text", ["A CASINO!", "get Free  money-now", "casino", "网上赌博平台", "下载六合彩APP", "这是赌博。"]
)
def test_texts_with_a_term_are_dropped(text, reason):
    assert reason(TERMS, text) == "blocklist: term"


@pytest.mark.parametrize("text", ["", "casinos", "free of money", "occasion", "赌一把，博一次", "六合彩"])
def test_texts_without_are_kept(text, reason):
    assert reason(TERMS, text) is None


def test_some_hits_may_be_allowed(reason):
    rule = Blocklist(terms=("bad",), max_hits=2)
    assert reason(rule, "bad bad") is None
    assert reason(rule, "bad bad bad") == "blocklist: term"


@pytest.mark.parametrize(
    ("url", "is_blocked"),
    [
        ("https://spam.example/page", True),
        ("http://www.Spam.example:8080/", True),
        ("spam.example", True),
        ("https://notspam.example/", False),
        ("https://example/spam.example", False),
        ("https://[broken", False),
        (None, False),
        (7, False),
    ],
)
def test_sites(url, is_blocked, reason):
    rule = Blocklist(domains=("spam.example",))
    assert reason(rule, "text", url=url) == ("blocklist: site" if is_blocked else None)


def test_files_hold_one_entry_a_line_and_comments(tmp_path, reason):
    terms, domains = tmp_path / "terms.txt", tmp_path / "domains.txt"
    terms.write_text("# words\nbad\n\n  坏词 \n", encoding="utf-8-sig")
    domains.write_text("https://spam.example/\n", encoding="utf-8")
    rule = Blocklist(term_files=(terms,), domain_files=(domains,))
    assert rule.inputs() == [terms, domains]
    assert [reason(rule, text) for text in ("a bad one", "有坏词", "words", "fine")] == ["blocklist: term"] * 2 + [
        None
    ] * 2
    assert reason(rule, "fine", url="http://a.spam.example") == "blocklist: site"
    terms.write_text("other", encoding="utf-8")
    assert reason(rule, "a bad one") is None


def test_a_list_that_is_not_there_or_no_text_is_named(tmp_path, reason):
    missing, binary = tmp_path / "missing.txt", tmp_path / "binary.txt"
    binary.write_bytes(b"ok\n\xff\xfe")
    with pytest.raises(DataError, match=r"missing\.txt: No such file"):
        reason(Blocklist(term_files=(missing,)), "text")
    with pytest.raises(DataError, match=r"binary\.txt: not UTF-8 at byte 3"):
        reason(Blocklist(term_files=(binary,)), "text")


def test_a_list_of_nothing_is_refused_with_the_options_to_set():
    with pytest.raises(RecipeError, match="nothing to look for; set terms, term_files, domains or domain_files"):
        Blocklist(max_hits=3)


@pytest.mark.parametrize("options", [{"terms": ("", "!!")}, {"domains": ("",)}, {"term_files": 1}, {"domain_files": 1}])
def test_lists_that_hold_nothing_are_refused_before_any_document_is_read(tmp_path, options):
    (tmp_path / "list.txt").write_text("# bad words\n\n", encoding="utf-8")
    rule = Blocklist(**{name: (tmp_path / "list.txt",) if value == 1 else value for name, value in options.items()})
    with pytest.raises(DataError, match="no word and no site to look for; fill the lists, or leave the step blocklist"):
        rule.prepare(2**20)


def test_lists_that_hold_something_are_not_refused(tmp_path):
    (tmp_path / "list.txt").write_text("# sites\nspam.example\n", encoding="utf-8")
    Blocklist(domain_files=(tmp_path / "list.txt",)).prepare(2**20)
    Blocklist(terms=("bad",)).prepare(2**20)
