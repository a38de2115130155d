"""Which tokens are hidden together: words whole, spans of words with the lengths that were asked for."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lathe.core.errors import LatheError
from lathe.core.keyed import row_keys, row_seeds
from lathe.core.rows import Layout
from lathe.core.tokens import TokenFile
from lathe.core.types import IGNORE, Symbols
from lathe.objectives import MaskedLM
from lathe.objectives.masking import Spans, Words

SYMBOLS = Symbols(pad=0, mask=4, size=1000, special=(0, 1, 2, 3, 4))
LENGTH = 120


def rows(count=200, longest=3, length=LENGTH):
    """Rows of words that have one to ``longest`` tokens."""
    made = []
    for number in range(count):
        random = np.random.default_rng(number)
        begins = np.cumsum([1, *random.integers(1, longest + 1, length)])
        ids = [2, *random.integers(5, 1000, length), 3]
        made.append({"input_ids": np.array(ids), "words": begins[begins <= length]})
    return made


def chosen(objective, rows, epoch=0):
    labels = objective.mask(rows, row_seeds(0, epoch, row_keys("d", len(rows))), SYMBOLS).labels.numpy()
    return [labels[i, : len(row["input_ids"])] != IGNORE for i, row in enumerate(rows)]


def words(row):
    """Whether each token of a word was chosen."""
    bounds = [*row["words"], len(row["input_ids"]) - 1]
    return lambda flags: [flags[a:b].tolist() for a, b in zip(bounds, bounds[1:], strict=False)]


@pytest.mark.parametrize("unit", [Words(), Spans()])
@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_words_are_hidden_whole_and_as_many_tokens_as_were_asked_for(unit, rate):
    given = rows()
    found = chosen(MaskedLM(unit=unit, mlm_probability=rate), given)
    assert all(len(set(flags)) == 1 for row, of_row in zip(given, found, strict=True) for flags in words(row)(of_row))
    assert np.concatenate(found).mean() * 122 / 120 == pytest.approx(rate, abs=0.015)
    assert not np.array_equal(found[0], chosen(MaskedLM(unit=unit, mlm_probability=rate), given, epoch=1)[0])


def test_lengths_of_spans_are_geometric_up_to_the_longest():
    """Long rows of which little is hidden, so that few spans touch or are cut short."""
    given = rows(60, longest=1, length=2000)
    lengths = Counter()
    for flags in chosen(MaskedLM(unit=Spans(geometric_p=0.5, max_span_length=3), mlm_probability=0.02), given):
        edges = np.flatnonzero(np.diff([0, *flags, 0]))
        lengths.update((edges[1::2] - edges[::2]).tolist())
    shares = np.array([lengths[n] for n in (1, 2, 3)]) / lengths.total()
    assert shares == pytest.approx(np.array([4, 2, 1]) / 7, abs=0.05)


def test_a_span_has_one_fate():
    objective = MaskedLM(unit=Spans(), mask_ratio=0.5, random_ratio=0.0, mlm_probability=0.1)
    given = rows(600)
    masked = objective.mask(given, row_keys("d", len(given)), SYMBOLS)
    hidden, labels = masked.inputs["input_ids"].numpy() == SYMBOLS.mask, masked.labels.numpy() != IGNORE
    both = []
    for flags, fate in zip(labels, hidden, strict=True):
        edges = np.flatnonzero(np.diff([0, *flags, 0]))
        both += [len(set(fate[a:b])) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    assert np.mean(np.array(both) == 1) > 0.9  # some spans touch
    assert hidden[labels].mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("unit", ["tokens", "words", "spans"])
def test_a_row_of_one_token_is_hidden_as_often_as_any_other(unit):
    one = [{"input_ids": np.array([2, 7, 3]), "words": np.array([1])}] * 2000
    objective = MaskedLM(unit={"kind": unit}, mlm_probability=0.3)
    found = np.array(chosen(objective, one))
    assert found.mean(0) == pytest.approx([0, 0.3, 0], abs=0.03)
    empty = [{"input_ids": np.array([2, 3]), "words": np.array([], np.int64)}]
    assert not np.concatenate(chosen(objective, empty)).any()


def test_a_rows_mask_does_not_depend_on_the_rows_beside_it():
    given = rows(5)
    seeds = row_keys("d", 5)
    for unit in (Words(), Spans()):
        together = MaskedLM(unit=unit).mask(given, seeds, SYMBOLS).labels
        longer = [*given[:4], {"input_ids": np.arange(5, 305), "words": np.arange(300)}]
        beside = MaskedLM(unit=unit).mask(longer, seeds, SYMBOLS).labels
        assert (beside[:4, :122] == together[:4]).all()


def test_chinese_words_by_jieba(tokenizer, tmp_path: Path):
    """Of 北京影片很好 it makes 北京, 影片, 很 and 好."""
    pytest.importorskip("jieba")
    row = TokenFile.write(tmp_path / "t", ["北京影片很好 film"], tokenizer, 16, Layout(words="jieba"))[0]
    assert row["words"].tolist() == [1, 3, 5, 6, 7]


def test_without_jieba_the_way_to_get_it_is_told(tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "jieba", None)
    boundaries = __import__("lathe.core.boundaries", fromlist=["_cutter"])
    boundaries._cutter.cache_clear()
    with pytest.raises(LatheError, match=r"pip install 'lathe\[segment\]'"):
        TokenFile.write(tmp_path / "t", ["很好"], tokenizer, 16, Layout(words="jieba"))
