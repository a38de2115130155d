"""The rules of a corpus: what each keeps, what it drops, and why."""

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lathe.core.types import Document
from lathe.corpus.clean import DropShort, Normalise, normalised
from lathe.corpus.duplicates import DropExactDuplicates, DropNearDuplicates, DropRepeatedParts
from lathe.corpus.ledger import SAMPLES, Ledger
from lathe.corpus.protocol import Changed, Dropped, GlobalStep, LocalStep

LONG = "one two three four five six seven eight nine ten eleven twelve"
STEPS = [Normalise(), DropShort(), DropExactDuplicates(), DropRepeatedParts(min_words=1), DropNearDuplicates()]
TEXT = st.text(st.sampled_from("ab好 \n\t\r\x00\u2028é\u0301"), max_size=20)


def documents(*texts: str) -> list[Document]:
    return [Document(text, str(number)) for number, text in enumerate(texts)]


def dropped(step: LocalStep, *texts: str) -> dict[str, str]:
    return {v.document.id: v.reason for v in map(step, documents(*texts)) if isinstance(v, Dropped)}


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


def test_exact_duplicates_keep_the_first(judged):
    found = judged(DropExactDuplicates(), documents("a", "b", "a", "c", "b", "a"), shard=2)
    assert [(v.document.id, v.twin) for v in found if isinstance(v, Dropped)] == [("2", 0), ("4", 1), ("5", 0)]


@given(texts=st.lists(st.sampled_from("abcdefghijkl"), min_size=1, max_size=40), shard=st.integers(1, 9))
def test_exact_duplicates_are_those_of_a_dictionary_however_little_memory_there_is(judged, texts, shard):
    first: dict[str, int] = {}
    expected = [first.setdefault(text, place) for place, text in enumerate(texts)]
    verdicts = judged(DropExactDuplicates(), documents(*texts), shard, memory=1000)
    found = [v.twin if isinstance(v, Dropped) else int(v.id) for v in verdicts]
    assert found == expected


def test_near_duplicates_keep_the_first_and_name_it(judged):
    found = judged(DropNearDuplicates(), documents(LONG, "other text", LONG.upper()), shard=2)
    assert [v for v in found if isinstance(v, Dropped)] == [
        Dropped(Document(LONG.upper(), "2"), "near duplicate", twin=0)
    ]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.kind)
@given(texts=st.lists(TEXT, max_size=8))
def test_every_document_gets_a_verdict_in_order_however_they_are_cut(judged, step: Any, texts: list[str]):
    verdicts = judged(step, documents(*texts), shard=2)
    ids = [v.document.id if isinstance(v, Dropped | Changed) else v.id for v in verdicts]
    assert ids == [str(number) for number in range(len(texts))]
    assert judged(step, documents(*texts), shard=5) == verdicts


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.kind)
def test_a_step_can_go_to_another_process(step: Any):
    assert pickle.loads(pickle.dumps(step)) == step
    assert isinstance(step, GlobalStep) != callable(step)


def test_the_books_of_a_step_that_loses_a_document_do_not_balance():
    ledger = Ledger(read=2)
    ledger.kept = len(list(ledger.through("lossy", documents("a", "b")[1:])))
    with pytest.raises(RuntimeError, match="2 documents read = 1 kept \\+ 0 dropped \\+ 0 quarantined"):
        ledger.check()


def test_documents_lost_between_two_segments_are_noticed():
    with pytest.raises(RuntimeError, match="3 documents were kept, and 2"):
        Ledger(read=3, kept=3).follow(Ledger(read=2, kept=2))


def test_what_is_done_to_texts_that_stay_is_counted():
    ledger = Ledger()
    document = Document("a", "0")
    assert list(ledger.through("x", [Changed(document, {"line": 2}), Changed(document, {"line": 1, "e-mail": 1})]))
    assert ledger.scores()["changed"] == {"e-mail": 1, "line": 3}


def test_samples_of_what_was_dropped_do_not_depend_on_the_order_nor_on_the_shards():
    def samples(stream: list[Document], size: int) -> list[str]:
        total = Ledger()
        for start in range(0, len(stream), size):
            ledger = Ledger()
            list(ledger.through("x", map(DropShort(), stream[start : start + size])))
            total.add(Ledger.of_json(ledger.to_json()))
        return list(total.sample_lines())

    many = documents(*["x"] * 50)
    assert samples(many, 50) == samples(many[::-1], 7) == samples(many, 3)
    assert len(samples(many, 50)) == SAMPLES
