"""Exact duplicates: whole documents, paragraphs and lines, here and against earlier corpora."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lathe.core.errors import BundleError
from lathe.core.recipe import parse
from lathe.core.scripts import has_words
from lathe.core.types import Document
from lathe.corpus import Recipe, run
from lathe.corpus.duplicates import DropExactDuplicates, DropRepeatedParts, exact
from lathe.corpus.duplicates.exact import digests_of, first_of_equals
from lathe.corpus.protocol import Changed, Dropped, Room

LINES = ["one two three", "四五六七八", "short", " one two three\t", "nine ten eleven twelve", "", "---"]


def documents(*texts: str) -> list[Document]:
    return [Document(text, str(number)) for number, text in enumerate(texts)]


def corpus(folder: Path, name: str, texts: list[str], *steps: Any):
    (folder / f"{name}.txt").write_text("\n".join(texts), encoding="utf-8")
    source = {"kind": "files", "paths": [str(folder / f"{name}.txt")]}
    return run(parse(Recipe, {"source": source, "steps": steps}), folder / name)


@given(st.lists(st.lists(st.sampled_from(LINES), max_size=5), min_size=1, max_size=8), st.integers(1, 5))
def test_lines_stand_where_they_are_met_first_and_nowhere_else(judged, texts: list[list[str]], shard: int):
    step, seen = DropRepeatedParts(part="line", min_words=3), set[str]()
    verdicts = judged(step, documents(*map("\n".join, texts)), shard, memory=500)
    for lines, verdict in zip(texts, verdicts, strict=True):
        kept = []
        for line in lines:
            if not has_words(line, 3) or line.strip() not in seen:
                kept.append(line)
            if has_words(line, 3):
                seen.add(line.strip())
        expected = "\n".join(kept)
        if len(kept) == len(lines):
            assert verdict.text == "\n".join(lines)
        elif has_words(expected, 1):
            assert isinstance(verdict, Changed)
            assert verdict.document.text == expected.strip("\n")
            assert verdict.counts == {"repeated line": len(lines) - len(kept)}
        else:
            assert isinstance(verdict, Dropped)
            assert verdict.reason == "only repeated lines"


def test_paragraphs_are_compared_whole(judged):
    first = "The same notice on every page.\nIn two lines, always."
    texts = (f"{first}\n\nWhat only the first page says here.", f"Another beginning.\n\n\n{first}", first)
    verdicts = judged(DropRepeatedParts(min_words=5), documents(*texts))
    assert verdicts[0] == documents(*texts)[0]
    assert verdicts[1] == Changed(Document("Another beginning.", "1"), {"repeated paragraph": 1})
    assert verdicts[2] == Dropped(documents(*texts)[2], "only repeated paragraphs")


def test_chinese_lines_are_measured_in_characters(judged):
    texts = ("版权所有不得转载。\n第一篇的内容在这里。", "版权所有不得转载。\n第二篇的内容在那里。")
    _, second = judged(DropRepeatedParts(part="line"), documents(*texts))
    assert second == Changed(Document("第二篇的内容在那里。", "1"), {"repeated line": 1})


def test_one_digest_very_often_takes_no_more_memory(tmp_path, monkeypatch):
    digests = digests_of(["the same"] * 5000 + ["another", "the same"])
    sizes, sort = list[int](), np.lexsort

    def watched(keys):
        sizes.append(len(keys[0]))
        return sort(keys)

    monkeypatch.setattr(exact.np, "lexsort", watched)
    twins = first_of_equals([digests], len(digests), Room(tmp_path, 20_000))
    assert twins.tolist() == [-1] + [0] * 4999 + [-1, 0]
    assert max(sizes) <= 20_000 // exact.SORTING_BYTES + 2


@pytest.mark.parametrize("step", [{"kind": "drop_exact_duplicates"}, {"kind": "drop_repeated_parts", "part": "line"}])
def test_what_an_earlier_corpus_has_is_dropped(tmp_path: Path, step: dict[str, Any]):
    lines = [f"line {n} of words that are long enough to count here" for n in range(60)]
    old = corpus(tmp_path, "old", lines)
    new = corpus(tmp_path, "new", ["a line that is new in the later corpus here", *lines[3:6]],
                 step | {"against": [str(old.path)]})  # fmt: skip
    reason = "exact duplicate of an earlier corpus" if "exact" in step["kind"] else "only repeated lines"
    assert new.manifest.scores["dropped"] == {reason: 3}
    assert new.manifest.scores["kept"] == 1


@pytest.mark.parametrize("kind", ["drop_exact_duplicates", "drop_near_duplicates", "drop_repeated_parts"])
def test_what_is_no_corpus_is_refused_before_anything_is_read(tmp_path: Path, kind: str):
    (tmp_path / "no").mkdir()
    with pytest.raises(BundleError, match="no"):
        corpus(tmp_path, "new", ["text"], {"kind": kind, "against": [str(tmp_path / "no")]})
    assert not (tmp_path / "new.work").exists()


def test_the_first_of_equal_documents_of_this_corpus_is_not_taken_for_an_earlier_one(tmp_path: Path):
    old = corpus(tmp_path, "old", [f"text number {n} of the old corpus" for n in range(30)])
    new = corpus(tmp_path, "new", ["new text", "new text", "text number 3 of the old corpus"],
                 {"kind": "drop_exact_duplicates", "against": [str(old.path)]})  # fmt: skip
    assert new.manifest.scores["dropped"] == {"exact duplicate": 1, "exact duplicate of an earlier corpus": 1}
    assert new.manifest.scores["drop_exact_duplicates"] == {"clusters": 2, "largest": 2, "sizes": {"2": 2}}
    assert DropExactDuplicates(against=(old.path,)).inputs() == [old.path]
