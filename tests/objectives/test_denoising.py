"""Denoising: each kind of noise by itself, all of them together, and the loss of giving the text back."""

from itertools import groupby

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import BartForConditionalGeneration

from lathe.core.errors import RecipeError
from lathe.core.keyed import row_keys, row_seeds, uniform
from lathe.core.tokens import TokenFile
from lathe.core.types import IGNORE, Symbols
from lathe.models import T5, Bart
from lathe.objectives import Denoising
from lathe.objectives.denoising import poisson

MASK = 4
SYMBOLS = Symbols(pad=0, mask=MASK, size=1000, special=(0, 1, 2, 3, MASK), end=3)
QUIET = {"mask_ratio": 0.0, "permute_sentence_ratio": 0.0}


def row(length, *sentences, framed=True):
    ids = np.arange(5, 5 + length)
    starts = np.array([0, *sentences], np.int64) + framed
    return {"input_ids": np.array([2, *ids, 3]) if framed else ids, "sentences": starts}


def collate(rows, epoch=0, **options):
    return Denoising(**options).collate(rows, row_seeds(0, epoch, row_keys("d", len(rows))), SYMBOLS)


def sources(batch):
    return [ids[mask == 1].tolist()
            for ids, mask in zip(batch.inputs["input_ids"], batch.inputs["attention_mask"], strict=True)]  # fmt: skip


def texts(batch):
    """What the encoder reads between the special tokens of the frame."""
    assert all(source[0] == 2 and source[-1] == 3 for source in sources(batch))
    return [source[1:-1] for source in sources(batch)]


def test_the_target_is_the_row_whatever_the_noise():
    rows = [row(n) for n in (0, 1, 2, 7, 30)]
    batch = collate(rows, delete_ratio=0.2, token_mask_ratio=0.2, rotate_ratio=0.5)
    for given, labels in zip(rows, batch.targets["labels"], strict=True):
        assert labels[labels != IGNORE].tolist() == given["input_ids"].tolist()
    assert batch.items == {"denoising": 50}


def test_without_noise_the_encoder_reads_the_row():
    rows = [row(9, 4), row(3)]
    assert sources(collate(rows, **QUIET)) == [given["input_ids"].tolist() for given in rows]


def test_infilling_hides_three_tenths_in_spans_of_mean_three_behind_one_mask_each():
    """Reference: what is missing between the tokens that are left, against the masks that stand there."""
    rows = [row(200)] * 300
    hidden, masks, inserted = 0, 0, 0
    for source in texts(collate(rows, permute_sentence_ratio=0.0)):
        expected = 5
        for is_mask, run in groupby([*source, 205], key=lambda token: token == MASK):
            run = list(run)
            if is_mask:
                masks, waiting = masks + len(run), len(run)
                continue
            gap = run[0] - expected
            assert gap == 0 or waiting
            inserted += gap == 0 and run[0] > 5 and waiting > 0
            hidden, expected, waiting = hidden + gap, run[-1] + 1, 0
        assert len(source) <= 200
    assert hidden / (300 * 200) == pytest.approx(0.3, abs=0.01)  # a span of no tokens takes the place of one
    assert hidden / masks == pytest.approx(3.0, abs=0.15)
    assert inserted > 0


def test_lengths_are_drawn_from_a_poisson_distribution():
    lengths = poisson(uniform(row_keys("d", 1), "test", 100_000)[0], 3.0)
    assert lengths.mean() == pytest.approx(3, abs=0.03)
    assert lengths.var() == pytest.approx(3, abs=0.06)
    assert (lengths == 0).mean() == pytest.approx(np.exp(-3), abs=0.003)


def test_sentences_change_places_and_stay_whole():
    found = set()
    for source in texts(collate([row(9, 4, 6)] * 200, mask_ratio=0.0)):
        assert sorted(source) == list(range(5, 14))
        parts = [[5, 6, 7, 8], [9, 10], [11, 12, 13]]
        order = sorted(range(3), key=lambda i: source.index(parts[i][0]))
        assert source == [token for i in order for token in parts[i]]
        found.add(tuple(order))
    assert len(found) == 6


def test_a_part_of_the_sentences_may_stay():
    """With a half of them, two stay in more than half of the rows of three: where none or one or two are to move."""
    untouched = sum(source == list(range(5, 14)) for source in texts(
        collate([row(9, 4, 6)] * 2000, mask_ratio=0.0, permute_sentence_ratio=0.5)))  # fmt: skip
    assert untouched / 2000 == pytest.approx(4 / 8 + 3 / 8 / 2 + 1 / 8 / 6, abs=0.04)


def test_sentences_of_texts_in_two_languages_are_those_of_the_token_file(tmp_path, tokenizer):
    written = ["很好。影片很坏！北京", "The film is good. The plot is bad. "]
    rows = TokenFile.write(tmp_path / "tokens", written, tokenizer, 32, Denoising().layout)
    for index, sizes in enumerate(([3, 5, 2], [5, 5])):
        starts = rows[index]["sentences"]
        assert np.diff([*starts, len(rows[index]["input_ids"]) - 1]).tolist() == sizes
    objective = Denoising(mask_ratio=0.0)
    seen = {tuple(sources(objective.collate([rows[0]], row_seeds(0, e, rows.keys[:1]), SYMBOLS))[0]) for e in range(40)}
    assert len(seen) == 6


def test_deletion_leaves_out_tokens_and_never_all():
    kept = texts(collate([row(50)] * 200 + [row(1)] * 50, **QUIET, delete_ratio=0.4))
    assert sum(map(len, kept[:200])) / 10_000 == pytest.approx(0.6, abs=0.02)
    assert all(source == sorted(source) and MASK not in source for source in kept)
    assert kept[200:] == [[5]] * 50


def test_token_masking_keeps_the_length():
    found = texts(collate([row(50)] * 200, **QUIET, token_mask_ratio=0.2))
    assert {len(source) for source in found} == {50}
    assert sum(source.count(MASK) for source in found) / 10_000 == pytest.approx(0.2, abs=0.02)


def test_rotation_begins_anywhere():
    found = texts(collate([row(6)] * 300, **QUIET, rotate_ratio=1.0))
    assert {source[0] for source in found} == set(range(5, 11))
    for source in found:
        assert [*source[source.index(5) :], *source[: source.index(5)]] == list(range(5, 11))
    half = texts(collate([row(100)] * 300, **QUIET, rotate_ratio=0.5))
    assert sum(source[0] != 5 for source in half) == pytest.approx(150, abs=30)


@pytest.mark.parametrize("length", range(1, 9))
def test_rows_of_any_length_without_a_frame_never_grow_nor_vanish(length):
    batch = collate([row(length, framed=False)] * 200, delete_ratio=0.5, mask_ratio=0.5, rotate_ratio=0.5)
    assert {len(source) for source in sources(batch)} <= set(range(1, length + 1))


def test_noise_is_fresh_in_each_epoch_and_the_same_when_asked_again():
    rows = [row(20, 7), row(9)]
    assert sources(collate(rows, 0)) != sources(collate(rows, 1))
    assert sources(collate(rows, 1)) == sources(collate(rows, 1))


def test_the_total_is_minus_the_log_probability_of_each_row_given_its_noisy_self(tokenizer):
    torch.manual_seed(0)
    config = Bart(d_model=16, encoder_layers=2, num_attention_heads=2, ffn_dim=32).config(tokenizer)
    model = BartForConditionalGeneration(config).eval()
    rows = [row(n, framed=n != 1) for n in (1, 2, 7, 12)]
    batch = collate(rows)
    (part,) = Denoising().loss(model, batch)
    reference = 0.0
    for source, given in zip(sources(batch), rows, strict=True):
        ids = torch.tensor(given["input_ids"])
        read = torch.tensor([[config.decoder_start_token_id, *ids[:-1]]])
        logits = model(input_ids=torch.tensor([source]), decoder_input_ids=read).logits[0]
        reference += F.cross_entropy(logits, ids, reduction="sum")
    torch.testing.assert_close(part.total, reference, rtol=1e-5, atol=1e-4)


def test_what_does_not_fit_is_refused(bert_config, tokenizer):
    with pytest.raises(RecipeError, match="denoising does not fit a model of type 'bert'"):
        Denoising().check_model(bert_config, SYMBOLS)
    with pytest.raises(RecipeError, match="denoising needs a tokenizer with a mask token"):
        Denoising().check_model(Bart().config(tokenizer), Symbols(0, None, 9, ()))
    Denoising().check_model(T5().config(tokenizer), SYMBOLS)
