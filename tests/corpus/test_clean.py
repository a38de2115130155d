"""The rules of a corpus: what each keeps, what it drops, and why."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lathe.core.types import Document
from lathe.corpus.clean import (
    DropExactDuplicates,
    DropNearDuplicates,
    Dropped,
    DropShort,
    Normalise,
    normalised,
)
from lathe.corpus.ledger import SAMPLES, Ledger

LONG = "one two three four five six seven eight nine ten eleven twelve"
STEPS = [Normalise(), DropShort(), DropExactDuplicates(), DropNearDuplicates()]
TEXT = st.text(st.sampled_from("ab好 \n\t\r\x00\u2028é\u0301"), max_size=20)


def documents(*texts: str) -> list[Document]:
    return [Document(text, str(number)) for number, text in enumerate(texts)]


def dropped(step: Any, *texts: str) -> dict[str, str]:
    return {v.document.id: v.reason for v in step(documents(*texts)) if isinstance(v, Dropped)}


@given(TEXT, st.sampled_from(["NFC", "NFKC", "as given"]), st.integers(0, 2))
def test_normalising_twice_changes_nothing_more(text: str, form: Any, empty_lines: int):
    once = normalised(text, form, empty_lines)
    assert normalised(once, form, empty_lines) == once


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("a  \t\n  b \u3000", "a\n  b"),
        ("\n\na\n\n\n\n\nb\n", "a\n\nb"),
        ("a\x00\x1bb\ufeff", "ab"),
        ("cafe\u0301", "café"),
        ("全角Ａ", "全角Ａ"),
    ],
)
def test_normal_form(given: str, expected: str):
    assert normalised(given) == expected


def test_nfkc_makes_full_width_letters_ordinary():
    assert normalised("全角Ａ１", "NFKC") == "全角A1"


def test_normalise_drops_what_holds_no_text():
    assert dropped(Normalise(), "a", " \n\t", "\x00") == {"1": "empty", "2": "empty"}


def test_short_texts_are_dropped_by_words_and_chinese_characters_are_words():
    texts = ("one two three four", "很好的影", "one two three", "很好的", "!!! ??? ... ---")
    assert dropped(DropShort(), *texts) == {"2": "too short", "3": "too short", "4": "too short"}


def test_exact_duplicates_keep_the_first():
    found = [v for v in DropExactDuplicates()(documents("a", "b", "a")) if isinstance(v, Dropped)]
    assert found == [Dropped(Document("a", "2"), "exact duplicate", twin="0")]


def test_near_duplicates_keep_the_first_and_name_it():
    found = [v for v in DropNearDuplicates()(documents(LONG, "other text", LONG.upper())) if isinstance(v, Dropped)]
    assert found == [Dropped(Document(LONG.upper(), "2"), "near duplicate", twin="0")]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.kind)
@given(texts=st.lists(TEXT, max_size=8))
def test_every_document_is_kept_or_dropped_in_order(step: Any, texts: list[str]):
    verdicts = list(step(documents(*texts)))
    ids = [v.document.id if isinstance(v, Dropped) else v.id for v in verdicts]
    assert ids == [str(number) for number in range(len(texts))]


def test_the_books_of_a_step_that_loses_a_document_do_not_balance():
    def lossy(stream: Iterable[Document]) -> Iterable[Document]:
        yield from list(stream)[1:]

    ledger = Ledger()
    list(ledger.closed(ledger.through(lossy, ledger.opened(documents("a", "b")))))
    with pytest.raises(RuntimeError, match="2 documents read, but 1 kept \\+ 0 dropped"):
        ledger.check()


def test_samples_of_what_was_dropped_do_not_depend_on_the_order(tmp_path):
    def samples(stream: list[Document]) -> str:
        ledger = Ledger()
        list(ledger.through(DropShort(), stream))
        ledger.write_samples(tmp_path / "dropped.jsonl")
        return (tmp_path / "dropped.jsonl").read_text("utf-8")

    many = documents(*["x"] * 50)
    assert samples(many) == samples(many[::-1])
    assert samples(many).count("\n") == SAMPLES
