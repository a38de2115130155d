"""Gopher's, C4's and FineWeb's rules: texts that all of them keep, and texts that each check drops."""

import pytest

from lathe.corpus.rules import C4Quality, FineWebQuality, GopherQuality, GopherRepetition

ENGLISH = (
    """The harbour of the old town lies on the north side of the bay, where two rivers meet.
Fishermen leave before sunrise and come home with their boats full of herring and cod.
In summer visitors walk along the quay and buy smoked fish from the small wooden stalls.
Many of the houses that stand behind it were built by merchants three hundred years ago.
They have been repaired again and again, and most of them are still lived in today.
The museum shows how people worked with nets, ropes and sails before there were engines.""",
    """A good loaf of bread needs little more than flour, water, salt and time.
Mix them in a large bowl until no dry flour is left, and cover the bowl with a cloth.
Leave the dough to rest overnight in a cool place, so that it can rise slowly.
Next morning, fold it a few times and let it stand while the oven gets hot.
Bake it with a little steam for forty minutes, then take it out to cool.
Those who cut it too early find it wet inside; patience is part of the recipe.""",
    """We have to be careful with claims that a single study proves anything at all.
Researchers asked nine hundred adults how they slept, and then tested their memory.
People who slept longer did better on average, but the difference was small.
It may be that healthier people both sleep and remember more easily than others.
Only an experiment could tell which of the two explanations is the right one.
Until then, the honest answer to the question is that nobody knows for sure.""",
)
CHINESE = (
    """这座古老的港口位于海湾的北岸，两条河流在这里汇合，流入大海。
渔民们在日出之前就驾船出海，傍晚带着满船的鱼回到码头。
夏天的时候，游客沿着海边散步，在木头搭成的小店里买熏鱼吃。
码头后面的许多房子是三百年前的商人建造的，至今仍然有人居住。
博物馆里展出了没有发动机的年代人们使用的渔网、绳索和船帆。""",
    """做一个好面包并不需要很多东西，面粉、水、盐和时间就够了。
先把它们放在一个大碗里搅拌均匀，然后盖上一块干净的布。
让面团在凉爽的地方放一个晚上，这样它会慢慢地发起来。
第二天早上把面团折叠几次，等烤箱热了以后再放进去烤。
烤好之后不要急着切开，里面还是湿的，耐心也是做面包的一部分。""",
    """我们不能因为一项研究就认为某个结论已经得到了证明。
研究人员询问了九百名成年人的睡眠情况，并测试了他们的记忆力。
睡得更久的人平均成绩好一些，不过差别其实并不大。
也许身体健康的人既睡得好，也更容易记住东西，二者没有因果关系。
只有通过实验才能知道哪一种解释是对的，在那之前谁也说不准。""",
)
TEXTS = (*ENGLISH, *CHINESE)
TEXTS = (*ENGLISH, *CHINESE)
RULES = (GopherQuality(), GopherRepetition(), C4Quality(), FineWebQuality())
ONE_LINE = ENGLISH[0].replace("\n", " ")
FIRST, SECOND = ENGLISH[0].split("\n"), CHINESE[0].split("\n")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:12])
def test_every_quality_rule_keeps_prose(rule, text, reason, left):
    assert reason(rule, text) is None
    assert left(rule, text) == text


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
@pytest.mark.parametrize("text", ["", " \n\n \t"])
def test_every_quality_rule_drops_a_text_without_words(rule, text, reason):
    assert reason(rule, text) is not None


def lines(text: str, change) -> str:
    return "\n".join(map(change, text.split("\n")))


@pytest.mark.parametrize(
    ("text", "measure"),
    [
        ("The harbour of the town lies on the bay and people like to be there.", "too few words"),
        ("word " * 100_001, "too many words"),
        ("to be or a I " * 30, "words too short"),
        ("unquestionable telecommunication and institutionalised that " * 20, "words too long"),
        (ENGLISH[0] + " #" * 20, "too many number signs"),
        (ENGLISH[0] + " ..." * 20 + " end", "too many ellipses"),
        (ENGLISH[0] + " 42" * 40, "too few words with letters"),
        ("Harbour boats leave before sunrise, fishermen come home late. " * 9, "too few stop words"),
        (lines(ENGLISH[0], lambda line: f"- {line}"), "too many bullets"),
        (lines(ENGLISH[1], lambda line: f"  • {line}"), "too many bullets"),
        (lines(ENGLISH[0], lambda line: f"{line[:-1]}..."), "too many lines end in an ellipsis"),
        ("港口位于海湾的北岸，在这里是我们的家。", "too few characters"),
        ("我们的" * 60_000, "too many characters"),
        (CHINESE[0] + " #" * 60, "too many number signs"),
        (CHINESE[0] + "啊……" * 90, "too many ellipses"),
        (CHINESE[0] + "，42" * 50, "too few words with letters"),
        ("渔民驾船出海傍晚带着满船鱼回到码头游客沿海边散步" * 5, "too few stop words"),
        (lines(CHINESE[0], lambda line: f"● {line}"), "too many bullets"),
        (lines(CHINESE[1], lambda line: f"{line[:-1]}……"), "too many lines end in an ellipsis"),
    ],
)
def test_gopher_quality_drops(text, measure, reason):
    assert reason(GopherQuality(), text) == f"gopher quality: {measure}"


def test_a_bound_of_none_is_not_asked(reason):
    short = "The harbour of the town lies on the bay and people like to be there."
    assert reason(GopherQuality(min_doc_words=None), short) is None
    assert reason(GopherQuality(min_doc_characters=None), "港口在海湾的北岸，这里是家。") is None


@pytest.mark.parametrize(
    ("text", "measure"),
    [
        ("\n\n".join([*FIRST, *FIRST[:4]]), "repeated paragraphs"),
        ("\n\n".join([*(f"{n}." for n in range(9)), ENGLISH[0], ENGLISH[0]]), "characters of repeated paragraphs"),
        ("\n".join([*FIRST, *FIRST[:4]]), "repeated lines"),
        ("\n".join([*(f"{n}." for n in range(9)), ONE_LINE, ONE_LINE]), "characters of repeated lines"),
        ("so it goes " * 40, "a frequent 2-gram"),
        (" ".join(f"{n}house {n}number {n}stands {n}apart in the end" for n in range(40)), "a frequent 3-gram"),
        (ENGLISH[0] + " " + ONE_LINE, "repeated 5-grams"),
        ("\n\n".join([*SECOND, *SECOND[:3]]), "repeated paragraphs"),
        ("\n".join([*SECOND, *SECOND[:3]]), "repeated lines"),
        ("哈哈哈" * 60, "a frequent 3-gram"),
        (CHINESE[0] + CHINESE[0].replace("\n", ""), "repeated 8-grams"),
    ],
)  # fmt: skip
def test_gopher_repetition_drops(text, measure, reason):
    assert reason(GopherRepetition(), text) == f"gopher repetition: {measure}"


def test_an_english_ngram_that_is_there_once_counts_as_frequent_and_a_chinese_one_does_not(reason):
    """The published filters of words drop what is shorter than some ten words in this way; a rule on length does it."""
    assert reason(GopherRepetition(), "A rather short text.") == "gopher repetition: a frequent 2-gram"
    assert reason(GopherRepetition(), "很短的文字。") is None


@pytest.mark.parametrize(
    ("text", "measure"),
    [
        (ENGLISH[0] + "\nLorem ipsum dolor sit amet.", "lorem ipsum"),
        (ENGLISH[0] + "\nif (x) { return y; } is all there is to say.", "curly bracket"),
        ("\n".join(FIRST[:4]), "too few sentences"),
        (ENGLISH[0].replace(".", ""), "too few sentences"),
        (CHINESE[0] + "\n这里是 Lorem ipsum 占位文字。", "lorem ipsum"),
        (CHINESE[0] + "\n模板-{zh-hans:简体}-没有展开。", "curly bracket"),
        ("\n".join(SECOND[:2]), "too few sentences"),
        (CHINESE[0].replace("。", ""), "too few sentences"),
    ],
)
def test_c4_quality_drops(text, measure, reason):
    assert reason(C4Quality(), text) == f"c4 quality: {measure}"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("Home | News | Sports", "no end mark"),
        ("Read more about it...", "no end mark"),
        ("Thank you.", "too few words"),
        (f"See {'x' * 1001} for more.", "word too long"),
        ("Please turn on Javascript to see this page.", "javascript"),
        ("Our Privacy Policy says how this site uses cookies.", "policy"),
        ("首页 新闻 体育", "no end mark"),
        ("谢谢。", "too few words"),
        ("请打开浏览器的 JavaScript 功能。", "javascript"),
        ("点击这里查看本站的隐私政策和使用条款。", "policy"),
    ],
)
def test_c4_quality_takes_lines_away(line, what, left, counts):
    text = CHINESE[0] if line[-1] == "。" or "首" in line else ENGLISH[0]
    assert left(C4Quality(), f"{line}\n{text}") == text
    assert counts(C4Quality(), f"{line}\n{text}") == {f"c4 quality: {what}": 1}


def test_a_line_that_goes_takes_its_bracket_with_it(left):
    assert left(C4Quality(), f"{ENGLISH[0]}\nTurn on javascript {{ now }}.") == ENGLISH[0]


def test_citations_go_and_are_not_counted(left, counts):
    text = ENGLISH[0].replace("bay,", "bay[3],").replace("fish ", "fish[citation needed] ")
    assert left(C4Quality(), text) == ENGLISH[0]
    assert counts(C4Quality(), text) == {}


def test_lines_may_lack_end_marks_as_fineweb_has_it(left):
    text = f"The old harbour\n{ENGLISH[0]}"
    assert left(C4Quality(filter_no_terminal_punct=False), text) == text


@pytest.mark.parametrize(
    ("text", "measure"),
    [
        (ENGLISH[0].replace(".", ""), "too few lines end a sentence"),
        ("\n".join(f"Item {n} is here." for n in range(9)), "too many short lines"),
        (f"{ENGLISH[0]}\n{FIRST[0]}", "characters of repeated lines"),
        ("\n".join(f"Averyveryverylongcompound{n}withoutanyend.\n" for n in range(9)), "too many lines for its words"),
        (CHINESE[0].replace("。", ""), "too few lines end a sentence"),
        ("\n".join(f"第{n}条在这里。" for n in range(9)), "too many short lines"),
        (f"{CHINESE[0]}\n{SECOND[0]}", "characters of repeated lines"),
    ],
)
def test_fineweb_quality_drops(text, measure, reason):
    assert reason(FineWebQuality(), text) == f"fineweb quality: {measure}"


def test_a_chinese_line_may_close_a_quotation_behind_its_end(reason):
    assert reason(FineWebQuality(), lines(CHINESE[0], lambda line: f"“{line}”")) is None
