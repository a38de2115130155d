"""Span corruption: which spans are hidden, what stands for them, and the loss of telling them."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import T5ForConditionalGeneration

from lathe.core.errors import RecipeError
from lathe.core.keyed import row_keys, row_seeds
from lathe.core.types import IGNORE, Symbols
from lathe.models import T5, Bart
from lathe.objectives import SpanCorruption

SENTINELS = tuple(range(60, 90))
SYMBOLS = Symbols(pad=0, mask=None, size=90, special=(0, 1, 2, *SENTINELS), end=1, sentinels=SENTINELS)
ROWS = [{"input_ids": [*range(5, 5 + n), 1]} for n in (1, 2, 3, 7, 8, 20, 51)]


def collate(rows=ROWS, epoch=0, **options):
    return SpanCorruption(**options).collate(rows, row_seeds(0, epoch, row_keys("d", len(rows))), SYMBOLS)


def pairs(batch):
    """The source and target of each row, without padding."""
    sources = [ids[mask == 1].tolist() for ids, mask in zip(batch.inputs["input_ids"], batch.inputs["attention_mask"],
                                                            strict=True)]  # fmt: skip
    return list(zip(sources, [row[row != IGNORE].tolist() for row in batch.targets["labels"]], strict=True))


def told(target):
    """What the target says of each sentinel, in its order."""
    spans: dict[int, list[int]] = {}
    for token in target[:-1]:
        spans.setdefault(token, []) if token in SENTINELS else list(spans.values())[-1].append(token)
    return spans


@pytest.mark.parametrize("epoch", range(5))
def test_the_spans_of_the_target_in_the_place_of_their_sentinels_give_back_the_row(epoch):
    """The reference: put together what was taken apart, as a reader of the two sequences would."""
    for row, (source, target) in zip(ROWS, pairs(collate(epoch=epoch)), strict=True):
        spans = told(target)
        back = [token for symbol in source for token in (spans[symbol] if symbol in SENTINELS else [symbol])]
        assert back == row["input_ids"]
        assert list(spans) == list(SENTINELS[: len(spans)])  # the first, the second, ...
        assert [symbol for symbol in source if symbol in SENTINELS] == list(spans)


def test_as_in_the_released_code_text_comes_first_a_span_last_and_no_sentinel_closes_the_target():
    for (source, target), row in list(zip(pairs(collate()), ROWS, strict=True))[1:]:
        assert source[0] == row["input_ids"][0]
        assert source[-2] in SENTINELS and source[-1] == 1
        assert target[0] == SENTINELS[0] and target[-1] == 1
        assert target[-2] not in SENTINELS


@pytest.mark.parametrize("length", range(1, 60))
def test_the_counts_are_the_released_code_s(length):
    noise = min(max(int(np.round(length * 0.15)), 1), max(length, 2) - 1) if length > 1 else 0
    spans = max(int(np.round(noise / 3.0)), 1) if noise else 0
    assert SpanCorruption().counts(length) == (noise, spans)
    ((_, target),) = pairs(collate([{"input_ids": [7] * length}]))
    assert sum(token == 7 for token in target) == noise
    assert len(told(target)) == spans


@pytest.mark.parametrize("density", [0.5, 0.9])
def test_more_spans_than_tokens_between_them_are_never_asked_for(density):
    for length in range(2, 40):
        ((source, target),) = pairs(collate([{"input_ids": [7] * length}], noise_density=density,
                                            mean_noise_span_length=1.0))  # fmt: skip
        assert len(source) <= length + 1 >= len(target)


def test_a_row_of_one_token_has_no_loss_and_one_cut_inside_a_document_gets_an_end():
    batch = collate([{"input_ids": [7]}, {"input_ids": [7, 8, 9]}, {"input_ids": [1]}])
    (lonely, nothing), (inner, told_of_it), (empty, _) = pairs(batch)
    assert (lonely, nothing, empty) == ([7, 1], [], [1])
    assert inner[-1] == told_of_it[-1] == 1
    assert batch.items == {"span_corruption": len(told_of_it)}


def test_special_tokens_around_a_row_stay():
    symbols = Symbols(pad=0, mask=None, size=90, special=(0, 2, 3, *SENTINELS), end=3, sentinels=SENTINELS)
    batch = SpanCorruption().collate([{"input_ids": [2, 11, 12, 13, 3]}], row_keys("d", 1), symbols)
    ((source, target),) = pairs(batch)
    assert source == [2, 11, 12, SENTINELS[0], 3]
    assert target == [SENTINELS[0], 13, 3]


def test_spans_are_fresh_in_each_epoch_and_the_same_when_asked_again():
    assert pairs(collate(epoch=0)) != pairs(collate(epoch=1))
    assert pairs(collate(epoch=1)) == pairs(collate(epoch=1))


def test_the_total_is_minus_the_log_probability_of_each_target(tokenizer):
    torch.manual_seed(0)
    config = T5(d_model=16, num_layers=2, num_heads=2, d_ff=32, pad_to_multiple_of=90).config(tokenizer)
    model = T5ForConditionalGeneration(config).eval()
    batch = collate()
    (part,) = SpanCorruption().loss(model, batch)
    reference = 0.0
    for source, target in pairs(batch):
        read = torch.tensor([[config.pad_token_id, *target[:-1]]])
        logits = model(input_ids=torch.tensor([source]), decoder_input_ids=read).logits[0]
        reference += F.cross_entropy(logits[: len(target)], torch.tensor(target, dtype=torch.long), reduction="sum")
    torch.testing.assert_close(part.total, reference, rtol=1e-5, atol=1e-4)
    assert part.items == sum(len(target) for _, target in pairs(batch))


def test_what_does_not_fit_is_refused_with_the_way_out(bert_config, gpt2_config, tokenizer):
    objective = SpanCorruption()
    for shape in (bert_config, gpt2_config):
        with pytest.raises(RecipeError, match="span_corruption does not fit a model .* a model such as bart, t5"):
            objective.check_model(shape, SYMBOLS)
    with pytest.raises(RecipeError, match="needs a tokenizer with an end token"):
        objective.check_model(T5().config(tokenizer), Symbols(0, None, 90, (), sentinels=SENTINELS))
    objective.check_model(T5().config(tokenizer), SYMBOLS)
    objective.check_model(Bart().config(tokenizer), SYMBOLS)


def test_sentinels_are_added_for_a_new_model_and_too_few_are_refused(tokenizer):
    with pytest.raises(RecipeError, match=r"needs sentinels \(<extra_id_0> ...\) in the tokenizer of `base`"):
        SpanCorruption().prepare_tokenizer(tokenizer, 512, is_new=False)
    SpanCorruption(extra_ids=30).prepare_tokenizer(tokenizer, 512, is_new=True)
    assert Symbols.of(tokenizer).sentinels == tuple(range(25, 55))
    assert set(Symbols.of(tokenizer).special) >= set(range(25, 55))
    SpanCorruption().prepare_tokenizer(tokenizer, 512, is_new=True)
    assert len(tokenizer) == 55
    with pytest.raises(RecipeError, match="a row of 1024 tokens has 51 hidden spans, and there are 30 sentinels"):
        SpanCorruption().prepare_tokenizer(tokenizer, 1024, is_new=True)
