"""What holds for every rule: no text breaks it, judging takes linear time, and doing it twice changes nothing more."""

import pickle
import time
from importlib.util import find_spec
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lathe.core.recipe import dump, parse
from lathe.core.types import Document
from lathe.corpus.protocol import Changed, Dropped
from lathe.corpus.rules import AnyRule, Blocklist, KeepLength
from lathe.corpus.stage import AnyStep

NEEDS = {"repair_encoding": "ftfy", "convert_chinese": "opencc", "keep_languages": "py3langid"}
RULES = [
    *(member() for member in get_args(AnyRule) if member not in (Blocklist, KeepLength)),
    Blocklist(terms=("bad word", "坏词"), domains=("spam.example",)),
    KeepLength(min_words=2, max_bytes=10**9),
]
TEXT = st.text(max_size=200) | st.text(
    st.sampled_from("aA1 .,!\n\t@:-(){}[]•。，！好坏词的Ａé\u3000\x00'’…"), max_size=200
)


@pytest.fixture(scope="module", params=RULES, ids=lambda rule: rule.kind)
def rule(request):
    library = NEEDS.get(request.param.kind)
    if library is not None and find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    return request.param


def test_every_rule_is_a_step_of_a_corpus_and_every_line_of_help_is_there():
    steps = get_args(get_args(AnyStep)[0])
    assert set(get_args(AnyRule)) < set(steps)
    for member in get_args(AnyRule):
        named = {name: field.description for name, field in member.__pydantic_fields__.items() if name != "kind"}
        assert [name for name, description in named.items() if not description] == []


def test_a_rule_can_be_sent_and_written(rule):
    assert pickle.loads(pickle.dumps(rule)) == rule
    assert parse(type(rule), dump(rule)) == rule


@given(text=TEXT)
@settings(max_examples=60, deadline=None)
def test_no_text_breaks_a_rule_and_it_keeps_what_it_kept(rule, text):
    document = Document(text, "0", {"url": text})
    verdict = rule(document)
    assert rule(document) == verdict
    if isinstance(verdict, Dropped):
        assert verdict.document == document
        return
    kept = verdict.document if isinstance(verdict, Changed) else verdict
    assert kept.id == "0"
    assert kept.meta["url"] == text
    if isinstance(verdict, Changed):
        assert verdict.counts
        assert min(verdict.counts.values()) > 0
        assert kept.text != text
    if rule.kind not in ("c4_quality", "drop_boilerplate"):  # fewer lines may be too few
        again = rule(kept)
        assert (again.document if isinstance(again, Changed) else again) == kept


def test_an_empty_text_is_kept_as_it_is_or_dropped_with_a_reason(rule):
    verdict = rule(Document("", "0"))
    assert verdict.reason if isinstance(verdict, Dropped) else verdict.text == ""


HOSTILE = ("a", " ", "\n", "好", "_", "(", "@", "1", ":", ".", "…", "1.", "a.", "a@", "好 ", "[1]", "Ã©", "http://a.")


def seconds(rule, unit: str, size: int) -> float:
    """Of processor time, the best of three."""
    document = Document((unit * size)[:size], "0")
    best = float("inf")
    for _ in range(3):
        started_s = time.process_time()
        rule(document)
        best = min(best, time.process_time() - started_s)
    return best


@pytest.mark.slow
@pytest.mark.parametrize("unit", HOSTILE)
def test_a_hostile_text_takes_linear_time(rule, unit):
    """Sixteen times the text: 16 times the time, and 256 times if it were quadratic."""
    assert seconds(rule, unit, 800_000) < 64 * seconds(rule, unit, 50_000) + 0.1


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["word ", "好", "x", "no end. "])
def test_a_line_of_ten_megabytes_is_judged(rule, unit):
    assert rule(Document(unit * (10_000_000 // len(unit)), "0")) is not None
