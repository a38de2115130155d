"""What the quality rules count of a text."""

import pytest

from lathe.corpus.rules.facts import Facts, facts_of, repeated, sentences


@pytest.mark.parametrize(
    ("text", "is_unspaced"),
    [
        ("", False),
        ("plain English", False),
        ("Русский текст без иероглифов", False),
        ("한국어 문장은 띄어 쓴다", False),
        ("今天天气很好", True),
        ("これは日本語です", True),
        ("一個 BERT 模型 and a few words", False),
        ("我们用 PyTorch 训练了一个模型", True),
    ],
)
def test_scripts_without_spaces(text, is_unspaced):
    assert Facts(text).is_unspaced is is_unspaced


def test_words_and_their_tally():
    facts = Facts("It's 42, naïve… (好)")
    assert facts.words == "It 's 42 , naïve … ( 好 )"
    assert facts.tally == (9, 5, 12, 4)  # It 's 42 naïve 好 are more than marks


def test_each_character_of_a_chinese_text_is_a_word():
    facts = Facts("我用BERT模型，2024年。")
    assert facts.words == "我 用 BERT 模 型 ， 2024 年 。"
    assert facts.tally == (9, 7, 13, 6)


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("", 0),
        ("没有结尾", 1),
        ("一句。两句！三句？", 3),
        ("他说：“走吧。”她走了……", 2),
        ("。。。", 0),
        ("分号；也算", 2),
    ],
)
def test_sentences_of_chinese(line, number):
    assert sentences(line, True, 9) == number


def test_repeated_parts():
    assert repeated(["ab", "c", "ab", "ab", ""]) == (2, 4)
    assert repeated([]) == (0, 0)


def test_rules_that_ask_for_the_same_text_share_its_facts():
    assert facts_of("the same text") is facts_of("the same text")
