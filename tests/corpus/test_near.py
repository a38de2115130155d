"""Near duplicates: found in any script, proved exactly, in linear work and little memory, against what was."""

import errno
import json
import random
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lathe.core.documents import read_document_file
from lathe.core.native import library
from lathe.core.recipe import parse
from lathe.core.scripts import words
from lathe.core.types import Document
from lathe.corpus import Recipe, run
from lathe.corpus.duplicates import DropNearDuplicates, minhash
from lathe.corpus.duplicates import shingles as shingles_module
from lathe.corpus.duplicates.near import near_duplicates
from lathe.corpus.duplicates.rows import Parts, put
from lathe.corpus.duplicates.shingles import SIZE, shingles
from lathe.corpus.protocol import Dropped

needs_library = pytest.mark.skipif(library() is None, reason="no compiled operations")
MIXED = st.text(alphabet="aAbZ c,. 好北京ก\n😀éİΣ_1", max_size=40)


def reference(text: str) -> set[tuple[str, ...]]:
    found = words(text.lower())
    return {tuple(found[i : i + SIZE]) for i in range(max(1, len(found) - SIZE + 1))} if found else set()


def sentence(seed: int, length: int, alphabet: list[str], space: str = " ") -> str:
    chance = random.Random(seed)
    return space.join(chance.choice(alphabet) for _ in range(length))


def similarity(a: set, b: set) -> float:
    return len(a & b) / len(a | b) if a or b else 0.0


ENGLISH = [f"word{i}" for i in range(500)]
CHINESE = [chr(0x4E00 + i) for i in range(500)]
ANY = [(ENGLISH, " "), (CHINESE, ""), (ENGLISH[:250] + CHINESE[:250], " ")]
languages = pytest.mark.parametrize(("alphabet", "space"), ANY, ids=["English", "Chinese", "mixed"])


def graded(alphabet: list[str], space: str, count: int = 30) -> list[str]:
    """Texts, and variants of each from nearly equal to half new."""
    chance = random.Random(3)
    texts = [sentence(i, 60, alphabet, "\n").split("\n") for i in range(count)]
    for base in range(count):
        for new in (1, 3, 8, 20):
            texts.append([*texts[base][new:], *(chance.choice(alphabet) for _ in range(new))])
    chance.shuffle(texts)
    return [space.join(text) for text in texts]


def judged_by_all_pairs(texts: list[str], threshold: float) -> dict[int, int]:
    """The definition: in order, a text is dropped if one that stays is similar; the first of those is its twin."""
    sets, twins = [reference(text) for text in texts], dict[int, int]()
    for later, mine in enumerate(sets):
        for earlier in range(later):
            if earlier not in twins and similarity(sets[earlier], mine) >= threshold:
                twins[later] = earlier
                break
    return twins


@given(st.lists(st.text(alphabet="ab c,. 好北京ก\n", max_size=40), max_size=6))
def test_shingles_are_the_word_5_grams_of_each_text(texts: list[str]):
    values, counts = shingles(texts)
    assert len(values) == counts.sum()
    pieces = np.split(values, np.cumsum(counts)[:-1]) if texts else []
    for piece, text in zip(pieces, texts, strict=True):
        assert len(set(piece.tolist())) == len(reference(text))


@given(st.lists(MIXED, min_size=1, max_size=6))
def test_equal_sets_of_words_have_equal_shingles_wherever_the_texts_stand(texts: list[str]):
    alone = [shingles([text]).values.tolist() for text in texts]
    together = shingles(texts)
    split = np.split(together.values, np.cumsum(together.counts)[:-1])
    assert [piece.tolist() for piece in split] == alone


@needs_library
@given(st.lists(MIXED, max_size=6), st.integers(1, 13))
def test_c_and_numpy_give_the_same_shingles_minima_and_shared_values(texts: list[str], size: int):
    fast = shingles(texts, size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shingles_module, "library", lambda: None)
        slow = shingles(texts, size)
    assert [x.tolist() for x in fast] == [x.tolist() for x in slow]
    assert np.array_equal(minhash.minima(*fast), minhash.minima_by_numpy(*fast))
    sets = [np.unique(piece) for piece in np.split(fast.values, np.cumsum(fast.counts)[:-1])] if texts else []
    sizes = np.array([len(values) for values in sets], np.int64)
    values = np.concatenate([*sets, np.zeros(0, np.uint64)])
    pairs = np.array([(a, b) for a in range(len(sets)) for b in range(len(sets))], np.int64).reshape(-1, 2)
    given = values, np.cumsum(sizes) - sizes, sizes, pairs
    assert np.array_equal(minhash.shared(*given), minhash.shared_by_numpy(*given))


@languages
def test_the_shared_values_of_shingles_are_those_of_the_sets(alphabet: list[str], space: str):
    a = sentence(1, 60, alphabet, space)
    b = a + space + sentence(2, 12, alphabet, space)
    sets = [np.unique(shingles([text]).values) for text in (a, b)]
    sizes = np.array([len(values) for values in sets], np.int64)
    both = minhash.shared(np.concatenate(sets), np.cumsum(sizes) - sizes, sizes, np.array([[0, 1]]))
    assert both.tolist() == [len(reference(a) & reference(b))]
    assert sizes.tolist() == [len(reference(a)), len(reference(b))]


@languages
def test_a_text_with_a_few_more_words_is_found_and_other_texts_are_kept(alphabet: list[str], space: str):
    texts = [sentence(i, 80, alphabet, space) for i in range(50)]
    copies = [text + space + alphabet[0] for text in texts[:10]]
    assert near_duplicates([*texts, *copies], 0.8) == {50 + i: i for i in range(10)}


@languages
def test_what_is_kept_and_why_agrees_with_comparing_every_pair(alphabet: list[str], space: str):
    texts = graded(alphabet, space)
    assert near_duplicates(texts, 0.8) == judged_by_all_pairs(texts, 0.8)


@languages
@settings(max_examples=25)
@given(shard=st.integers(1, 40), memory=st.integers(1_000, 200_000))
def test_neither_shards_nor_memory_change_the_verdicts(judged, alphabet, space, shard: int, memory: int):
    texts = graded(alphabet, space, 6)
    documents = [Document(text, str(index)) for index, text in enumerate(texts)]
    verdicts = judged(DropNearDuplicates(), documents, shard, memory)
    twins = {int(v.document.id): v.twin for v in verdicts if isinstance(v, Dropped)}
    assert twins == judged_by_all_pairs(texts, 0.8)


def test_little_memory_is_kept_to_by_parts_on_disk(monkeypatch):
    """Every array of rows that the search holds is counted: none may be larger than its share of the memory."""
    held, read = list[int](), Parts.read

    def watched(self, index, most):
        for rows in read(self, index, most):
            held.append(rows.nbytes)
            yield rows

    monkeypatch.setattr(Parts, "read", watched)
    monkeypatch.setattr("lathe.corpus.duplicates.near.MEMORY", 30_000)
    texts = [*graded(ENGLISH, " "), *[sentence(1, 40, ENGLISH)] * 100]
    found = near_duplicates(texts, 0.8)
    assert max(held) <= 30_000
    assert len(held) > 50
    assert found == judged_by_all_pairs(texts, 0.8)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("rows", [1, 100_000])
def test_a_full_disk_is_told_by_its_number(rows: int):
    with pytest.raises(OSError, match="No space left") as refused, Path("/dev/full").open("wb") as stream:
        put(np.zeros((rows, 2), np.uint64), stream)
    assert refused.value.errno == errno.ENOSPC


def test_a_twin_always_stays_itself():
    chain = sentence(0, 200, ENGLISH).split()  # each text is like its neighbours and unlike those further away
    texts = [" ".join(chain[start : start + 100]) for start in range(0, 100, 4)]
    for threshold in (0.7, 0.8, 0.9):
        twins = near_duplicates(texts, threshold)
        assert not set(twins.values()) & set(twins)
        assert twins == judged_by_all_pairs(texts, threshold)


def test_case_and_punctuation_do_not_make_a_difference():
    text = sentence(1, 30, ENGLISH)
    assert near_duplicates([text, text.upper().replace(" ", ", ") + "!"], 1.0) == {1: 0}


def test_texts_without_words_are_no_duplicates_of_each_other():
    assert near_duplicates(["---", "!!!", "", "..."], 0.8) == {}


def test_short_texts_are_duplicates_only_when_their_words_are_equal():
    assert near_duplicates(["good film", "Good film!", "good films", "很好", "很好。", "很坏"], 0.8) == {1: 0, 4: 3}


def test_thousands_of_equal_texts_do_not_take_quadratic_time():
    started_s = time.process_time()
    twins = near_duplicates([sentence(0, 30, ENGLISH)] * 20_000, 0.8)
    assert len(twins) == 19_999
    assert time.process_time() - started_s < 20


def test_clusters_are_told_by_size_and_shown_with_both_texts(tmp_path):
    texts = [sentence(i, 60, ENGLISH) for i in range(20)]
    copies = [f"{texts[0]} more", f"{texts[0]} again", f"{texts[1]} more"]
    (tmp_path / "a.txt").write_text("\n".join([*texts, *copies]), encoding="utf-8")
    made = run(parse(Recipe, {"source": {"kind": "files", "paths": [str(tmp_path / "a.txt")]}}), tmp_path / "corpus")
    scores = made.manifest.scores["drop_near_duplicates"]
    assert scores == {"clusters": 2, "largest": 3, "sizes": {"2": 1, "3": 1}}
    audit = [line for line in (made.path / "dropped.jsonl").read_text("utf-8").splitlines() if "near" in line]
    assert len(audit) == 3
    assert all('"twin_text"' in line for line in audit)


def test_what_an_earlier_corpus_has_is_a_duplicate_and_named_by_its_file_and_line(tmp_path):
    old = [sentence(i, 60, ENGLISH) for i in range(30)]
    new = [f"{old[4]} more", sentence(100, 60, ENGLISH), old[7], f"{sentence(100, 60, ENGLISH)} more"]

    def corpus(name: str, texts: list[str], **values):
        (tmp_path / f"{name}.txt").write_text("\n".join(texts), encoding="utf-8")
        source = {"kind": "files", "paths": [str(tmp_path / f"{name}.txt")]}
        return run(parse(Recipe, {"source": source} | values), tmp_path / name)

    first = corpus("old", old, steps=[])
    against = {"kind": "drop_near_duplicates", "against": [str(first.path)]}
    found = corpus("new", new, steps=[against])
    reasons = {"near duplicate": 1, "near duplicate of an earlier corpus": 2}
    assert found.manifest.scores["dropped"] == reasons
    for line in (found.path / "dropped.jsonl").read_text("utf-8").splitlines():
        if "earlier" in line:
            told = json.loads(line)
            file, number = told["twin"].rsplit(":", 1)
            twin = list(read_document_file(Path(file)))[int(number) - 1]
            assert told["text"].startswith(twin.text[:100])
    assert str(first.path) in found.manifest.inputs
