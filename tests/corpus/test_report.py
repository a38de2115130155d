"""The report of a corpus: the same books before and after, drawn, and every text in it only text."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lathe.core.documents import read_documents, splits_of
from lathe.core.errors import BundleError
from lathe.core.recipe import parse
from lathe.core.types import Document
from lathe.corpus import Recipe, run
from lathe.corpus.census import Census, length_class
from lathe.corpus.ledger import Ledger
from lathe.corpus.report import report
from lathe.models.pretrained import open_tokenizer

HOSTILE = "<script>alert('x')</script> good film & bad plot, is not great in Paris"
TEXTS = [HOSTILE, *(f"the good film is not bad, a great plot {n}" for n in range(9)), "影片很好不坏", "short"]
documents = st.builds(
    Document, st.text("ab好 \n", max_size=40), st.just("id"), st.sampled_from([{}, {"language": "en-US"}])
)


@pytest.fixture
def corpus(tmp_path: Path, tokenizer):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    rows = [json.dumps({"text": text, "lang": "en" if text.isascii() else "zh"}) for text in TEXTS]
    (tmp_path / "a.jsonl").write_text("\n".join([*rows, rows[1], "{bad"]), encoding="utf-8")
    values = {
        "source": {"kind": "files", "paths": [str(tmp_path / "a.jsonl")]},
        "tokenizer": str(tmp_path / "tokenizer"),
    }
    return run(parse(Recipe, values), tmp_path / "corpus")


def test_what_is_counted_after_the_steps_is_what_the_corpus_holds(corpus, tmp_path):
    after = corpus.manifest.scores["after"]
    texts = [d.text for split in splits_of(corpus.path) for d in read_documents(corpus.path, split)]
    tokenizer = open_tokenizer(tmp_path / "tokenizer")
    assert after["documents"] == len(texts) == corpus.manifest.scores["kept"]
    assert after["characters"] == sum(map(len, texts))
    assert after["bytes"] == sum(len(text.encode()) for text in texts)
    assert after["tokens"] == sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)
    assert after["lengths"] == Counter(length_class(len(text)) for text in texts)
    assert after["scripts"] == {"Latin": sum(map(len, texts)) - 6, "Han": 6}
    assert after["languages"] == {"en": len(texts) - 1, "zh": 1}


def test_what_is_counted_before_the_steps_is_all_that_could_be_read(corpus):
    scores = corpus.manifest.scores
    assert scores["before"]["documents"] == scores["read"] - scores["quarantined"] == len(TEXTS) + 1
    assert scores["before"]["tokens"] > scores["after"]["tokens"] > 0


def test_the_page_shows_counts_reasons_and_samples_and_runs_nothing(corpus):
    page = (corpus.path / "report.html").read_text("utf-8")
    words = re.sub(r"<[^>]*>", " ", page)
    for said in ("exact duplicate: 1 documents", "too short: 1 documents", "not readable (quarantine.jsonl)"):
        assert said in words
    assert "影片很好不坏" in words and "a.jsonl:1" in words
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")
    assert page.count("<svg") == 3


def test_a_tokenizer_that_is_not_there_is_named_before_anything_is_read(tmp_path):
    (tmp_path / "a.txt").write_text("one two three four", "utf-8")
    (tmp_path / "none").mkdir()
    values = {"source": {"kind": "files", "paths": [str(tmp_path / "a.txt")]}, "tokenizer": str(tmp_path / "none")}
    with pytest.raises(BundleError, match=r"none: no tokenizer\.json \(tokenizer\)"):
        run(parse(Recipe, values), tmp_path / "corpus")
    assert not (tmp_path / "corpus.work").exists()


@given(st.lists(documents, max_size=9), st.integers(0, 9))
def test_the_sum_of_two_counts_is_the_count_of_both(found: list[Document], cut: int):
    total = Census.of(found[:cut])
    total.add(Census.of(found[cut:]))
    assert total == Census.of(found)
    assert Census.of_json(json.loads(json.dumps(total.to_json()))) == total


@given(st.integers(0, 10**7))
def test_a_length_lies_in_its_class(length: int):
    start = int(length_class(length))
    assert start <= length < max(2 * start, 1)


@pytest.mark.parametrize("told", [{}, {"step_of_all": {"clusters": 3, "sizes": {"2": 2, "3": 1}}}])
def test_a_corpus_without_drops_has_a_report_too(told):
    ledger = Ledger(read=1, kept=1)
    ledger.before = ledger.after = Census.of([Document("", "a")])
    page = report(ledger, [], told, {"train": {"documents": 1, "characters": 0, "bytes": 0}})
    assert "1 of 1 documents are kept" in page
    assert ("Step of all" in page) == bool(told)
