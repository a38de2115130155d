"""Lines that pages say about themselves."""

import pytest

from lathe.corpus.rules import DropBoilerplate

PROSE = "First line of prose.\n\n第二行正文，没有问题。"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("This site uses cookies to improve your experience.", "policy"),
        ("Terms of Use | Privacy Policy", "policy"),
        ("Please enable JavaScript in your browser.", "javascript"),
        ("Copyright 2024. All rights reserved.", "rights"),
        ("隐私政策 | 使用条款", "policy"),
        ("本网站使用Cookie以提升体验", "policy"),
        ("版权所有 © 2024 京ICP备12345678号", "rights"),
        ("未经授权，禁止转载", "rights"),
    ],
)
def test_such_lines_go_and_are_counted(line, what, left, counts):
    assert left(DropBoilerplate(), f"{PROSE}\n{line}") == PROSE
    assert counts(DropBoilerplate(), f"{PROSE}\n{line}\n{line}") == {f"boilerplate: {what}": 2}


@pytest.mark.parametrize("text", ["", PROSE, "A long study of privacy policy. " * 20, "cookies are sweet", "书的版权"])
def test_other_texts_stay_as_they_are(text, left, counts):
    assert left(DropBoilerplate(), text) == text
    assert counts(DropBoilerplate(), text) == {}


def test_a_text_of_nothing_else_is_dropped(reason):
    assert reason(DropBoilerplate(), "Privacy Policy\n \nAll rights reserved") == "boilerplate: no line is left"


def test_more_phrases_can_be_given(left):
    assert left(DropBoilerplate(phrases=("follow us",)), f"{PROSE}\nFollow us on Mastodon") == PROSE
