"""Pages: what is text stays text, and nothing is fetched or run."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from lathe.core.html import Column, Html, Section, bullets, code, details, element, facts, figure, join, page, table

HOSTILE = "<script>alert('x')</script> & \"quoted\""


class Tags(HTMLParser):
    """Start and end tags, and the text between them."""

    void = {"meta", "br"}

    def __init__(self) -> None:
        super().__init__()
        self.open, self.seen, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read(markup: str) -> Tags:
    tags = Tags()
    tags.feed(markup)
    tags.close()
    assert tags.open == []
    return tags


@pytest.mark.parametrize(
    "made",
    [
        element("p", {"title": HOSTILE}, HOSTILE),
        join([HOSTILE]),
        table([Column(HOSTILE)], [[HOSTILE]]),
        bullets([HOSTILE]),
        facts([(HOSTILE, HOSTILE)]),
        code(HOSTILE),
        details(HOSTILE, HOSTILE),
        figure(Html("<svg></svg>"), HOSTILE),
        page(HOSTILE, [Section(HOSTILE, [HOSTILE])], HOSTILE),
    ],
)
def test_text_is_never_markup(made):
    tags = read(made)
    assert "script" not in [name for name, _ in tags.seen]
    assert HOSTILE in tags.text


def test_markup_is_put_as_it_is():
    assert element("p", {}, element("b", {}, "x")) == "<p><b>x</b></p>"


def test_a_page_may_neither_run_nor_fetch_anything_and_knows_its_own_style():
    text = page("Title", [Section("Part", ["Words."])])
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"content=\"default-src 'none'; style-src 'sha256-{digest}'\"" in text
    assert not re.search(r"https?:|url\(|@import|<script|\sstyle=|\son\w+=", text)


def test_a_page_is_for_phones_paper_and_the_dark():
    text = page("Title", [])
    assert "width=device-width" in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_a_table_stresses_rows_and_keeps_its_shape():
    tags = read(table([Column("model"), Column("score", "end")], [["a", "1"], ["b", "2"]], strong=[1]))
    names = [name for name, _ in tags.seen]
    assert (names.count("tr"), names.count("th"), names.count("td")) == (3, 4, 2)
    assert [attributes.get("class") for name, attributes in tags.seen if name == "tr"] == [None, None, "strong"]
    with pytest.raises(ValueError, match="argument 2"):
        table([Column("model")], [["a", "1"]])
